// Small prepared sets of preference pairs.

import { encodeLossless } from '../../cli/data/io/image.js';
import { type Pair, pairSource } from '../../cli/data/prepared/pair.js';
import { prepare } from '../../cli/data/prepared/prepare.js';
import { colours } from './small_set.js';

export const image = (i: number) => {
  const { rgb } = colours[i % colours.length] as (typeof colours)[number];
  const pixels = Uint8Array.from({ length: 32 * 32 * 3 }, (_, at) => ((rgb[at % 3] as number) + 7 * i) % 256);
  return { pixels, width: 32, height: 32 };
};
const stored = (i: number) => ({ id: `image ${i}`, read: () => encodeLossless(image(i)) });

export interface PairRow {
  prompt: string;
  chosen: number;
  rejected: number;
  source: string;
  kind?: string;
  grade?: number;
  group?: string;
  ranks?: [number, number];
  tie?: true;
  /** 'test' by default. */
  split?: string;
}

/** Graded pairs of three prompts, one tie, and a ranking of four images of which two are equal. */
export const rows: PairRow[] = [
  ...Array.from(
    { length: 12 },
    (_, i): PairRow => ({
      prompt: `colour ${i % 3}`,
      chosen: i % 8,
      rejected: (i * 5 + 3) % 12,
      source: 'graded',
      kind: i % 2 ? 'blur' : 'noise',
      grade: 1 + (i % 3),
    }),
  ),
  { prompt: 'colour 1', chosen: 0, rejected: 1, source: 'graded', tie: true },
  ...[
    [0, 1, 1, 2],
    [0, 2, 1, 2],
    [0, 3, 1, 3],
    [1, 3, 2, 3],
    [2, 3, 2, 3],
  ].map(
    ([chosen = 0, rejected = 0, a = 0, b = 0]): PairRow => ({
      ...{ prompt: 'colour 5', chosen, rejected, source: 'hpdv2', group: '7', ranks: [a, b] },
    }),
  ),
];

export async function writePairs(
  folder: string,
  all: readonly PairRow[] = rows,
  settings: Record<string, unknown> = {},
): Promise<string> {
  const pairs = all.map(
    ({ chosen, rejected, split = 'test', ...fields }): Pair => ({
      split,
      fields,
      chosen: stored(chosen),
      rejected: stored(rejected),
    }),
  );
  const of = { source: 'test', ...settings };
  await prepare(pairSource({ notes: [{ name: 'pairs' }], settings: of, pairs: () => pairs }), folder, {
    limits: { bytes: 1e9, samples: Number.POSITIVE_INFINITY },
    signal: new AbortController().signal,
    onProgress: () => {},
    onDrop: () => {},
  });
  return folder;
}
