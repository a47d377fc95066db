// What is in a prepared set of preference pairs: figures, and a contact sheet of chosen beside rejected images.
import { createHash } from 'node:crypto';
import { epochOrder } from '../../random/order.js';
import { IdTable } from '../io/id_table.js';
import type { PairRecord, PairSet } from '../prepared/pair_set.js';
import {
  CELL,
  CHOSEN,
  captionLines,
  centred,
  detailsOf,
  embedded,
  figureOf,
  GAP,
  gridOf,
  LINE,
  linesAt,
  pageOf,
  REJECTED,
  type SheetFiles,
  type Thumbnail,
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
  range,
  type SetFigures,
  type Spread,
  setFigures,
  setRows,
  spreadOf,
  type TextFigures,
  textRows,
  wordsIn,
} from './inspection.js';

export interface PairInspection extends SetFigures {
  folder: string;
  pairs: number;
  ties: number;
  /** Field of the sidecars -> value -> pairs, most frequent first. */
  kinds: Record<string, Record<string, number>>;
  prompts: TextFigures;
  /** Of those that state one. */
  confidence?: Spread;
  images: OpenedImages & {
    distinct: number;
    /** Pairs that an image is in. */
    uses: Spread;
    bytes: Spread;
  };
}

type Progress = (label: string, done: number, total: number) => void;

/** What the sidecars say; they are read one by one, and only numbers are kept of them. */
async function readRecords(set: PairSet, signal: AbortSignal, onProgress: Progress) {
  const characters = new Float64Array(set.length);
  const words = new Float64Array(set.length);
  const confidence: number[] = [];
  const prompts = new IdTable();
  const kinds = new FieldKinds(['prompt', 'split', 'key', 'group']);
  let ties = 0;
  for (let i = 0; i < set.length; i++) {
    signal.throwIfAborted();
    const record = await set.record(i);
    characters[i] = charactersIn(record.prompt);
    words[i] = wordsIn(record.prompt);
    prompts.add(createHash('sha256').update(record.prompt).digest('base64').slice(0, 20));
    if (record.confidence !== undefined) confidence.push(record.confidence);
    if (record.tie) ties += 1;
    for (const [field, value] of Object.entries(record))
      if (typeof value === 'string' || field === 'grade') kinds.count(field, String(value));
    if (i % 256 === 255 || i === set.length - 1) onProgress('reading', i + 1, set.length);
  }
  return { characters, words, confidence, distinct: prompts.length, kinds: kinds.result(), ties };
}

export async function inspectPairs(
  set: PairSet,
  seed: number,
  signal: AbortSignal,
  onProgress: Progress,
): Promise<PairInspection> {
  const { characters, words, confidence, distinct, kinds, ties } = await readRecords(set, signal, onProgress);
  const uses = new Uint32Array(set.imageCount);
  for (let i = 0; i < set.length; i++)
    for (const image of [set.chosen(i), set.rejected(i)]) uses[image] = (uses[image] as number) + 1;
  const store = {
    count: set.imageCount,
    name: (i: number) => set.imageId(i),
    bytes: (i: number) => set.image(i),
  };
  const opened = await openImages(store, seed, signal, (done, total) => onProgress('opening images', done, total));
  return {
    folder: set.folder,
    pairs: set.length,
    ...setFigures(set),
    ties,
    kinds,
    prompts: { distinct, characters: spreadOf(characters), words: spreadOf(words) },
    ...(confidence.length > 0 && { confidence: spreadOf(confidence) }),
    images: {
      distinct: set.imageCount,
      uses: spreadOf(uses),
      ...opened,
      bytes: spreadOf(Float64Array.from({ length: set.imageCount }, (_, i) => set.imageSize(i))),
    },
  };
}

export function pairInspectionText(found: PairInspection): string {
  const { images, confidence } = found;
  const some = (name: string, text: string, isThere: boolean): Figure[] => (isThere ? [[name, text]] : []);
  return columnsOf([
    ...setRows('pairs', found.pairs, found),
    ...some('ties', String(found.ties), found.ties > 0),
    ...Object.entries(found.kinds).map(([field, counts]): Figure => [field.replaceAll('_', ' '), list(counts)]),
    ...(confidence ? [['confidence', range(confidence, 4)] satisfies Figure] : []),
    ...textRows('prompts', found.prompts),
    ...imageRows(images, images.distinct, {
      before: `${images.distinct} distinct; `,
      below: [['  pairs of each', range(images.uses)]],
    }),
  ]);
}

const COLUMNS = 4;
/** Between the two images of a pair. */
const SEAM = 2;
const BAR = 4;
const LINES = 2;
const LETTERS = 2 * 22;
const HEAD = 24;
const PAIR = 2 * CELL + SEAM;

interface Cell {
  record: PairRecord;
  chosen: Thumbnail | undefined;
  rejected: Thumbnail | undefined;
}

async function cellOf(set: PairSet, pair: number): Promise<Cell> {
  const small = async (image: number) => thumbnailOf(await set.image(image));
  const record = await set.record(pair);
  return { record, chosen: await small(record.chosen), rejected: await small(record.rejected) };
}

/** Writes contact-sheet.png and contact-sheet.html; gives their paths. */
export async function writePairSheet(
  set: PairSet,
  found: PairInspection,
  out: string,
  { count, seed }: { count: number; seed: number },
): Promise<SheetFiles> {
  const pairs = epochOrder(seed, 0, set.length).subarray(0, count);
  const cells: Cell[] = [];
  for (const pair of pairs) cells.push(await cellOf(set, pair));
  const { width, height, place } = gridOf(cells.length, {
    columns: COLUMNS,
    width: PAIR,
    height: CELL + BAR + LINES * LINE,
    top: HEAD,
  });
  const drawn = cells.flatMap(({ record }, n) => {
    const { left, top } = place(n);
    const bar = (at: number, colour: string) =>
      `<rect x="${left + at}" y="${top + CELL}" width="${CELL}" height="${BAR}" fill="${record.tie ? '#868e96' : colour}"/>`;
    return [
      bar(0, CHOSEN),
      bar(CELL + SEAM, REJECTED),
      ...linesAt(captionLines(record.prompt, LINES, LETTERS), left + PAIR / 2, top + CELL + BAR),
    ];
  });
  const images = cells.flatMap(({ chosen, rejected }, n) => {
    const { left, top } = place(n);
    return [chosen, rejected].flatMap((image, side) =>
      image ? [centred(image, left + side * (CELL + SEAM), top)] : [],
    );
  });
  const legend = `<text x="${GAP}" y="16" text-anchor="start">left (green): chosen · right (red): rejected</text>`;
  const note = `${cells.length} pairs, chosen by seed ${seed}: the chosen image left (green), the rejected one right (red); details show when the pointer rests on a pair.`;
  const page = pageOf(set.folder, pairInspectionText(found), note, cells.map(pairFigure), PAIR + 8);
  return writeSheet(out, { width, height, images, drawn: [legend, ...drawn] }, page);
}

function pairFigure({ record: { prompt, ...rest }, chosen, rejected }: Cell): string {
  const shown = (image: Thumbnail | undefined, name: string) =>
    image ? embedded(image, name, `class="${name}" `) : `<span>${name}: cannot be decoded</span>`;
  return figureOf(`${shown(chosen, 'chosen')} ${shown(rejected, 'rejected')}`, prompt, detailsOf(rest));
}
