// What is in a prepared set of captioned images: figures, and a contact sheet to look at. Pairs: pairs.ts.

import { epochOrder } from '../../random/order.js';
import type { CaptionedSet } from '../prepared/captioned_set.js';
import {
  CELL,
  captionLines,
  centred,
  detailsOf,
  embedded,
  figureOf,
  gridOf,
  LINE,
  LINES,
  linesAt,
  pageOf,
  type SheetFiles,
  thumbnailOf,
  writeSheet,
} from './contact_sheet.js';
import {
  charactersIn,
  columnsOf,
  FieldKinds,
  type Figure,
  imageRows,
  list,
  type OpenedImages,
  openImages,
  type SetFigures,
  type Spread,
  setFigures,
  setRows,
  spreadOf,
  type TextFigures,
  textRows,
  wordsIn,
} from './inspection.js';

export interface Inspection extends SetFigures {
  folder: string;
  samples: number;
  /** Field of the sidecars -> value -> samples, most frequent first. */
  kinds: Record<string, Record<string, number>>;
  captions: TextFigures;
  images: OpenedImages & { bytes: Spread };
}

async function kindsOf(set: CaptionedSet, signal: AbortSignal): Promise<Inspection['kinds']> {
  const kinds = new FieldKinds(['caption', 'split']);
  for (let i = 0; i < set.length; i++) {
    signal.throwIfAborted();
    for (const [field, value] of Object.entries(await set.meta(i)))
      if (typeof value === 'string') kinds.count(field, value);
  }
  // As many values as samples describe each one, however few there are.
  return kinds.result(Math.max(2, set.length));
}

export async function inspectSet(
  set: CaptionedSet,
  seed: number,
  signal: AbortSignal,
  onProgress: (done: number, total: number) => void,
): Promise<Inspection> {
  const captions = Array.from({ length: set.length }, (_, i) => set.caption(i));
  const store = { count: set.length, name: (i: number) => set.key(i), bytes: (i: number) => set.bytes(i) };
  const images = await openImages(store, seed, signal, onProgress);
  return {
    folder: set.folder,
    samples: set.length,
    ...setFigures(set),
    kinds: await kindsOf(set, signal),
    captions: {
      distinct: new Set(captions).size,
      characters: spreadOf(captions.map(charactersIn)),
      words: spreadOf(captions.map(wordsIn)),
    },
    images: { ...images, bytes: spreadOf(Array.from({ length: set.length }, (_, i) => set.size(i))) },
  };
}

export const inspectionText = (found: Inspection): string =>
  columnsOf([
    ...setRows('samples', found.samples, found),
    ...Object.entries(found.kinds).map(([field, counts]): Figure => [field, list(counts)]),
    ...textRows('captions', found.captions),
    ...imageRows(found.images, found.samples),
  ]);

const COLUMNS = 8;

/** Writes contact-sheet.png and contact-sheet.html; gives their paths. */
export async function writeContactSheet(
  set: CaptionedSet,
  found: Inspection,
  out: string,
  { count, seed }: { count: number; seed: number },
): Promise<SheetFiles> {
  const indices = Array.from(epochOrder(seed, 0, set.length).subarray(0, count));
  const cells = await Promise.all(
    indices.map(async (i) => {
      const image = await thumbnailOf(await set.bytes(i));
      return { i, caption: set.caption(i), meta: await set.meta(i), image };
    }),
  );
  const { width, height, place } = gridOf(cells.length, { columns: COLUMNS, width: CELL, height: CELL + LINES * LINE });
  const texts = cells.flatMap(({ caption }, n) => {
    const { left, top } = place(n);
    return linesAt(captionLines(caption), left + CELL / 2, top + CELL);
  });
  const images = cells.flatMap(({ image }, n) => {
    const { left, top } = place(n);
    return image ? [centred(image, left, top)] : [];
  });
  const figures = cells.map(({ i, caption, meta: { caption: _, ...rest }, image }) =>
    figureOf(image ? embedded(image, '') : '<p>cannot be decoded</p>', caption, [set.key(i), ...detailsOf(rest)]),
  );
  const note = `${cells.length} samples, chosen by seed ${seed}; details show when the pointer rests on an image.`;
  const page = pageOf(set.folder, inspectionText(found), note, figures);
  return writeSheet(out, { width, height, images, drawn: texts }, page);
}
