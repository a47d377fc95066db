// Figures about a prepared set that captioned images and pairs have in common.
import { epochOrder } from '../../random/order.js';
import { padEnd, widthOf } from '../../text/columns.js';
import { Drop } from '../io/drop.js';
import { decodeImage } from '../io/image.js';
import type { Manifest, Shard } from '../prepared/manifest.js';

/** Of a larger set so many images are opened for the figures about sizes, chosen by seed. */
const OPENED = 20_000;
/** A field of the sidecars with more values than this is a description, not a kind. */
const MOST_KINDS = 40;

export interface Spread {
  least: number;
  median: number;
  mean: number;
  most: number;
}

export function spreadOf(values: ArrayLike<number>): Spread {
  const sorted = Float64Array.from(values).sort();
  const sum = sorted.reduce((total, value) => total + value, 0);
  return {
    least: sorted[0] ?? 0,
    median: sorted[sorted.length >> 1] ?? 0,
    mean: sorted.length > 0 ? sum / sorted.length : 0,
    most: sorted.at(-1) ?? 0,
  };
}

/** Of samples or pairs: what a set says without being read. */
export interface SetFigures {
  bytes: number;
  records: number;
  dropped: Record<string, number>;
  splits: Record<string, number>;
}

interface PreparedSet {
  length: number;
  shards: readonly Shard[];
  manifest: Manifest;
  shardOf(i: number): Shard;
}

export function setFigures(set: PreparedSet): SetFigures {
  const splits = new Map<string, number>();
  for (let i = 0; i < set.length; i++) add(splits, set.shardOf(i).split);
  return {
    bytes: set.shards.reduce((sum, shard) => sum + shard.bytes, 0),
    records: set.manifest.records,
    dropped: set.manifest.dropped,
    splits: Object.fromEntries([...splits].sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

/** Of captions or prompts. */
export interface TextFigures {
  distinct: number;
  characters: Spread;
  words: Spread;
}

export const charactersIn = (text: string): number => Array.from(text).length;
export const wordsIn = (text: string): number => text.split(/\s+/).filter(Boolean).length;

export const byCount = (counts: Map<string, number>): Record<string, number> =>
  Object.fromEntries([...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)));

export const add = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1);

/** The kinds among the sidecars' fields: those of few values, each field on its own. */
export class FieldKinds {
  readonly #fields = new Map<string, Map<string, number>>();
  readonly #ruledOut: Set<string>;

  constructor(ruledOut: string[]) {
    this.#ruledOut = new Set(ruledOut);
  }

  count(field: string, value: string): void {
    if (this.#ruledOut.has(field)) return;
    const counts = this.#fields.get(field) ?? new Map<string, number>();
    this.#fields.set(field, counts);
    add(counts, value);
    if (counts.size <= MOST_KINDS) return;
    this.#fields.delete(field);
    this.#ruledOut.add(field);
  }

  /** Field -> value -> samples, most frequent first; fields of `most` values or more left out. */
  result(most = Number.POSITIVE_INFINITY): Record<string, Record<string, number>> {
    const kinds = [...this.#fields].filter(([, counts]) => counts.size < most);
    return Object.fromEntries(kinds.map(([field, counts]) => [field, byCount(counts)]));
  }
}

/** What is needed of a set to open its images. */
export interface OpenableImages {
  count: number;
  name(image: number): string;
  bytes(image: number): Promise<Uint8Array>;
}

export interface OpenedImages {
  opened: number;
  width: Spread;
  height: Spread;
  formats: Record<string, number>;
  bad: string[];
}

/** Opens all images, or so many of a large set. */
export async function openImages(
  { count, name, bytes }: OpenableImages,
  seed: number,
  signal: AbortSignal,
  onProgress: (done: number, total: number) => void,
): Promise<OpenedImages> {
  const chosen = epochOrder(seed, 0, count).subarray(0, OPENED).sort();
  const widths: number[] = [];
  const heights: number[] = [];
  const formats = new Map<string, number>();
  const bad: string[] = [];
  const queue = chosen.entries();
  const worker = async () => {
    for (const [done, i] of queue) {
      signal.throwIfAborted();
      const image = await decodeImage(await bytes(i));
      if (image instanceof Drop) bad.push(`${name(i)}: ${image.detail}`);
      else {
        widths.push(image.width);
        heights.push(image.height);
        add(formats, image.extension);
      }
      onProgress(done + 1, chosen.length);
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  return {
    opened: chosen.length,
    width: spreadOf(widths),
    height: spreadOf(heights),
    formats: byCount(formats),
    bad: bad.sort(),
  };
}

export const figure = (value: number, digits = 1): string =>
  Number.isInteger(value) ? String(value) : value.toFixed(digits);
export const range = ({ least, median, mean, most }: Spread, digits = 1): string => {
  const of = (value: number) => figure(value, digits);
  return `${of(least)} to ${of(most)}, median ${of(median)}, mean ${of(mean)}`;
};
export const list = (counts: Record<string, number>): string =>
  Object.entries(counts)
    .map(([key, count]) => `${key.replaceAll('_', ' ')} ${count}`)
    .join(' · ');

/** A name, and what belongs to it. */
export type Figure = [name: string, text: string];

/** `what` there is in the set: so many samples or pairs. */
export const setRows = (what: string, count: number, { bytes, records, dropped, splits }: SetFigures): Figure[] => [
  [what, `${count} of ${records} records, ${(bytes / 1e6).toFixed(1)} MB`],
  ...(Object.keys(dropped).length > 0 ? [['dropped', list(dropped)] satisfies Figure] : []),
  ['splits', list(splits)],
];

export const textRows = (what: string, { distinct, characters, words }: TextFigures): Figure[] => [
  [what, `${distinct} distinct`],
  ['  characters', range(characters)],
  ['  words', range(words)],
];

/** Of `total` images that a set has, with what is said of them before their formats and below them. */
export function imageRows(
  { formats, opened, bad, width, height, bytes }: OpenedImages & { bytes: Spread },
  total: number,
  { before = '', below = [] }: { before?: string; below?: Figure[] } = {},
): Figure[] {
  const some = opened < total ? ` (of ${opened} opened)` : '';
  const broken = bad.length > 0 ? `, ${bad.length} bad` : '';
  return [
    ['images', `${before}${list(formats)}${some}${broken}`],
    ...below,
    ['  width', range(width)],
    ['  height', range(height)],
    ['  bytes', range(bytes)],
  ];
}

/** In two columns. */
export function columnsOf(rows: Figure[]): string {
  const width = Math.max(...rows.map(([name]) => widthOf(name)));
  return rows.map(([name, text]) => `${padEnd(name, width)}  ${text}`).join('\n');
}
