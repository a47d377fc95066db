// What is in a prepared set of captioned images: figures, and a contact sheet to look at. Pairs: inspect_pairs.ts.

import { epochOrder } from '../../random/order.js';
import { escapeXml } from '../../text/xml.js';
import { Drop } from '../io/drop.js';
import { decodePicture } from '../io/picture.js';
import type { CaptionedSet } from '../prepared/captioned_set.js';
import {
  CELL,
  captionLines,
  centred,
  detailsOf,
  embedded,
  figureOf,
  GAP,
  LINE,
  LINES,
  pageOf,
  type SheetFiles,
  thumbnail,
  writeSheet,
} from './contact_sheet.js';
import {
  add,
  columnsOf,
  FieldKinds,
  list,
  type OpenedPictures,
  openPictures,
  range,
  type Spread,
  spreadOf,
} from './inspection.js';

export interface Inspection {
  folder: string;
  samples: number;
  bytes: number;
  records: number;
  dropped: Record<string, number>;
  splits: Record<string, number>;
  /** Field of the sidecars -> value -> samples, most frequent first. */
  kinds: Record<string, Record<string, number>>;
  captions: { distinct: number; characters: Spread; words: Spread };
  pictures: OpenedPictures & { bytes: Spread };
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
  const splits = new Map<string, number>();
  for (let i = 0; i < set.length; i++) add(splits, set.shardOf(i).split);
  const store = { count: set.length, name: (i: number) => set.key(i), bytes: (i: number) => set.bytes(i) };
  const pictures = await openPictures(store, seed, signal, onProgress);
  return {
    folder: set.folder,
    samples: set.length,
    bytes: set.shards.reduce((sum, shard) => sum + shard.bytes, 0),
    records: set.manifest.records,
    dropped: set.manifest.dropped,
    splits: Object.fromEntries([...splits].sort(([a], [b]) => (a < b ? -1 : 1))),
    kinds: await kindsOf(set, signal),
    captions: {
      distinct: new Set(captions).size,
      characters: spreadOf(captions.map((caption) => Array.from(caption).length)),
      words: spreadOf(captions.map((caption) => caption.split(/\s+/).filter(Boolean).length)),
    },
    pictures: { ...pictures, bytes: spreadOf(Array.from({ length: set.length }, (_, i) => set.size(i))) },
  };
}

export function inspectionText(found: Inspection): string {
  const { captions, pictures } = found;
  const rows: [string, string][] = [
    ['samples', `${found.samples} of ${found.records} records, ${(found.bytes / 1e6).toFixed(1)} MB`],
    ...(Object.keys(found.dropped).length > 0 ? [['dropped', list(found.dropped)] as [string, string]] : []),
    ['splits', list(found.splits)],
    ...Object.entries(found.kinds).map(([field, counts]): [string, string] => [field, list(counts)]),
    ['captions', `${captions.distinct} distinct`],
    ['  characters', range(captions.characters)],
    ['  words', range(captions.words)],
    [
      'pictures',
      `${list(pictures.formats)}${pictures.opened < found.samples ? ` (of ${pictures.opened} opened)` : ''}${pictures.bad.length > 0 ? `, ${pictures.bad.length} bad` : ''}`,
    ],
    ['  width', range(pictures.width)],
    ['  height', range(pictures.height)],
    ['  bytes', range(pictures.bytes)],
  ];
  return columnsOf(rows);
}

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
      const picture = await decodePicture(await set.bytes(i));
      return {
        i,
        caption: set.caption(i),
        meta: await set.meta(i),
        image: picture instanceof Drop ? undefined : await thumbnail(picture),
      };
    }),
  );
  const columns = Math.min(COLUMNS, cells.length);
  const width = GAP + columns * (CELL + GAP);
  const rowHeight = CELL + LINES * LINE + GAP;
  const height = GAP + Math.ceil(cells.length / columns) * rowHeight;
  const place = (n: number) => ({
    left: GAP + (n % columns) * (CELL + GAP),
    top: GAP + Math.floor(n / columns) * rowHeight,
  });
  const texts = cells.flatMap(({ caption }, n) => {
    const { left, top } = place(n);
    return captionLines(caption).map(
      (line, row) => `<text x="${left + CELL / 2}" y="${top + CELL + (row + 1) * LINE - 3}">${escapeXml(line)}</text>`,
    );
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
