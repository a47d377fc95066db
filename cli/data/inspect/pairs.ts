// What is in a prepared set of preference pairs: figures, and a contact sheet of chosen beside rejected images.
import { createHash } from 'node:crypto';
import { epochOrder } from '../../random/order.js';
import { escapeXml } from '../../text/xml.js';
import { Drop } from '../io/drop.js';
import { IdTable } from '../io/id_table.js';
import { decodePicture } from '../io/picture.js';
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
  LINE,
  pageOf,
  REJECTED,
  type SheetFiles,
  type Thumbnail,
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

export interface PairInspection {
  folder: string;
  pairs: number;
  bytes: number;
  records: number;
  dropped: Record<string, number>;
  splits: Record<string, number>;
  ties: number;
  /** Field of the sidecars -> value -> pairs, most frequent first. */
  kinds: Record<string, Record<string, number>>;
  prompts: { distinct: number; characters: Spread; words: Spread };
  /** Of those that state one. */
  confidence?: Spread;
  pictures: OpenedPictures & {
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
    characters[i] = Array.from(record.prompt).length;
    words[i] = record.prompt.split(/\s+/).filter(Boolean).length;
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
  const uses = new Uint32Array(set.pictureCount);
  const splits = new Map<string, number>();
  for (let i = 0; i < set.length; i++) {
    for (const picture of [set.chosen(i), set.rejected(i)]) uses[picture] = (uses[picture] as number) + 1;
    add(splits, set.shardOf(i).split);
  }
  const store = {
    count: set.pictureCount,
    name: (i: number) => set.pictureId(i),
    bytes: (i: number) => set.picture(i),
  };
  const opened = await openPictures(store, seed, signal, (done, total) => onProgress('opening images', done, total));
  return {
    folder: set.folder,
    pairs: set.length,
    bytes: set.shards.reduce((sum, shard) => sum + shard.bytes, 0),
    records: set.manifest.records,
    dropped: set.manifest.dropped,
    splits: Object.fromEntries([...splits].sort(([a], [b]) => (a < b ? -1 : 1))),
    ties,
    kinds,
    prompts: { distinct, characters: spreadOf(characters), words: spreadOf(words) },
    ...(confidence.length > 0 && { confidence: spreadOf(confidence) }),
    pictures: {
      distinct: set.pictureCount,
      uses: spreadOf(uses),
      ...opened,
      bytes: spreadOf(Float64Array.from({ length: set.pictureCount }, (_, i) => set.pictureSize(i))),
    },
  };
}

export function pairInspectionText(found: PairInspection): string {
  const { prompts, pictures, confidence } = found;
  const some = (name: string, text: string, isThere: boolean): [string, string][] => (isThere ? [[name, text]] : []);
  const rows: [string, string][] = [
    ['pairs', `${found.pairs} of ${found.records} records, ${(found.bytes / 1e6).toFixed(1)} MB`],
    ...some('dropped', list(found.dropped), Object.keys(found.dropped).length > 0),
    ['splits', list(found.splits)],
    ...some('ties', String(found.ties), found.ties > 0),
    ...Object.entries(found.kinds).map(([field, counts]): [string, string] => [
      field.replaceAll('_', ' '),
      list(counts),
    ]),
    ...(confidence ? [['confidence', range(confidence, 4)] as [string, string]] : []),
    ['prompts', `${prompts.distinct} distinct`],
    ['  characters', range(prompts.characters)],
    ['  words', range(prompts.words)],
    [
      'pictures',
      `${pictures.distinct} distinct; ${list(pictures.formats)}${pictures.opened < pictures.distinct ? ` (of ${pictures.opened} opened)` : ''}${pictures.bad.length > 0 ? `, ${pictures.bad.length} bad` : ''}`,
    ],
    ['  pairs of each', range(pictures.uses)],
    ['  width', range(pictures.width)],
    ['  height', range(pictures.height)],
    ['  bytes', range(pictures.bytes)],
  ];
  return columnsOf(rows);
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
  const small = async (picture: number) => {
    const decoded = await decodePicture(await set.picture(picture));
    return decoded instanceof Drop ? undefined : thumbnail(decoded);
  };
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
  const columns = Math.min(COLUMNS, cells.length);
  const width = GAP + columns * (PAIR + GAP);
  const rowHeight = CELL + BAR + LINES * LINE + GAP;
  const height = HEAD + Math.ceil(cells.length / columns) * rowHeight;
  const place = (n: number) => ({
    left: GAP + (n % columns) * (PAIR + GAP),
    top: HEAD + Math.floor(n / columns) * rowHeight,
  });
  const drawn = cells.flatMap(({ record }, n) => {
    const { left, top } = place(n);
    const bar = (at: number, colour: string) =>
      `<rect x="${left + at}" y="${top + CELL}" width="${CELL}" height="${BAR}" fill="${record.tie ? '#868e96' : colour}"/>`;
    return [
      bar(0, CHOSEN),
      bar(CELL + SEAM, REJECTED),
      ...captionLines(record.prompt, LINES, LETTERS).map(
        (line, row) =>
          `<text x="${left + PAIR / 2}" y="${top + CELL + BAR + (row + 1) * LINE - 3}">${escapeXml(line)}</text>`,
      ),
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
