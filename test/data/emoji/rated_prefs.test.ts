// Simulated raters: who they are, how they vote, and the pairs that come of it.
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Wish } from '../../../cli/data/emoji/painter.js';
import { populationWeights, standardized, utility } from '../../../cli/data/emoji/population.js';
import { RATED_SPLITS } from '../../../cli/data/emoji/prefs_splits.js';
import { type RatedPrefsOptions, ratedPrefsSource } from '../../../cli/data/emoji/rated_prefs.js';
import { drawRaters, votesOf } from '../../../cli/data/emoji/raters.js';
import { Drop } from '../../../cli/data/io/drop.js';
import { decodeImage } from '../../../cli/data/io/image.js';
import { readManifest } from '../../../cli/data/prepared/manifest.js';
import { type PairRecord, PairSet } from '../../../cli/data/prepared/pair_set.js';
import { prepare } from '../../../cli/data/prepared/prepare.js';
import { QUALITIES, type Quality } from '../../../cli/image/qualities.js';
import { PhiloxStream } from '../../../cli/random/philox_stream.js';
import { runDrm, temporaryFolder } from '../../run_drm.js';

const nothing = Object.fromEntries(QUALITIES.map((name) => [name, 0])) as Record<Quality, number>;

test('raters differ, groups of them too, and their mean is the population', () => {
  const raters = drawRaters(3, 4000, 0);
  for (const name of QUALITIES) {
    const weights = raters.map((rater) => rater[name]);
    const mean = weights.reduce((sum, weight) => sum + weight, 0) / weights.length;
    expect(mean / populationWeights[name]).toBeCloseTo(1, 1);
    expect(new Set(weights).size).toBe(weights.length);
    expect(Math.min(...weights)).toBeGreaterThan(0);
  }
  expect(drawRaters(3, 5, 0)).toEqual(raters.slice(0, 5));
  expect(drawRaters(3, 5, 1)).not.toEqual(raters.slice(0, 5));
  expect(drawRaters(4, 5, 0)).not.toEqual(raters.slice(0, 5));
});

test('votes follow Bradley and Terry', () => {
  const one = Array.from({ length: 20_000 }, () => ({ ...nothing, crispness: 1 }));
  const share = (difference: number) =>
    votesOf(one, { ...nothing, crispness: difference }, nothing, new PhiloxStream(1, 2, 3))[0] / one.length;
  expect(share(0)).toBeCloseTo(0.5, 1.5);
  expect(Math.abs(share(0.5) - 1 / (1 + Math.exp(-1)))).toBeLessThan(0.01);
  expect(Math.abs(share(-1) - 1 / (1 + Math.exp(2)))).toBeLessThan(0.01);
});

const options: RatedPrefsOptions = {
  size: 16,
  seed: 4,
  split: 'all',
  maxPairs: 1240,
  ownImages: 4,
  raters: 20,
  steps: 28,
  guidance: 3,
  model: { name: 'base', fingerprint: 'base' },
  dtype: 'fp32',
  t5Length: 0,
};

/** A base whose images differ by what was wished for. */
function painter() {
  const wished: Wish[] = [];
  const paint = async (wishes: Wish[]) => {
    wished.push(...wishes);
    return wishes.map(({ prompt, seed, steps, noise }) => {
      const draws = new PhiloxStream(seed, steps, prompt.length, noise * 10);
      const contrast = 1 + draws.below(3);
      return {
        pixels: Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => 128 + contrast * ((i % 7) - draws.below(4))),
        width: 16,
        height: 16,
      };
    });
  };
  return { paint, wished };
}

async function made(given: Partial<RatedPrefsOptions> = {}) {
  const folder = join(temporaryFolder(), 'set');
  const { paint, wished } = painter();
  await prepare(ratedPrefsSource({ ...options, ...given }, paint), folder, {
    limits: { bytes: 1e9, samples: 1e9 },
    signal: new AbortController().signal,
    onProgress: () => {},
    onDrop: () => {},
  });
  const set = await PairSet.open(folder);
  onTestFinished(() => set.close());
  const pairs: PairRecord[] = [];
  for (let i = 0; i < set.length; i++) pairs.push(await set.record(i));
  return { folder, set, pairs, wished };
}

const few = (given: Partial<RatedPrefsOptions> = {}) => made({ split: 'judge', maxPairs: 62, ...given });

test('pairs have votes, the share of them is the confidence, and most agree with the truth', async () => {
  const { folder, set, pairs, wished } = await made();
  const { dropped, splits, settings } = await readManifest(folder);
  expect(Object.keys(splits).sort()).toEqual([...RATED_SPLITS].sort());
  expect(settings).toMatchObject({ raters: 20, min_confidence: 0.95 });
  expect(dropped.low_confidence).toBeGreaterThan(0);
  let right = 0;
  for (const [i, { votes, confidence, split, kind, source }] of pairs.entries()) {
    const [won, lost] = votes as [number, number];
    expect(won).toBeGreaterThan(lost);
    expect(won + lost).toBe(20);
    expect(confidence).toBe(won / 20);
    expect(source).toBe('emoji-raters');
    expect(['own', 'retouched', 'worse', 'real']).toContain(kind);
    if (split === 'train' || split === 'judge') expect(confidence).toBeGreaterThanOrEqual(0.95);
    const [better, other] = await Promise.all(
      [set.chosen(i), set.rejected(i)].map(async (index) => {
        const decoded = await decodeImage(await set.image(index));
        if (decoded instanceof Drop) throw new Error(decoded.detail);
        return utility(populationWeights, standardized(decoded));
      }),
    );
    if ((better as number) > (other as number)) right += 1;
  }
  expect(right / pairs.length).toBeGreaterThan(0.8);
  // By the settings of sampling and of reinforcement learning, and some worse.
  const count = (keep: (wish: Wish) => boolean) => wished.filter(keep).length / wished.length;
  expect(count(({ noise, steps }) => noise === 0.7 && steps === 28)).toBeCloseTo(3 / 5, 1);
  expect(count(({ noise, steps }) => noise === 0 && steps === 28)).toBeCloseTo(1 / 5, 1);
  expect(count(({ steps }) => steps < 28)).toBeGreaterThan(0.05);
});

test('each own image has a retouched copy, and both are voted on', async () => {
  const { pairs, set } = await few({ minConfidence: 0 });
  const [ids, kinds] = [new Set<string>(), new Map<string, number>()];
  for (const { chosen, rejected, kind = '' } of pairs) {
    const both = [set.imageId(chosen), set.imageId(rejected)];
    for (const id of both) ids.add(id);
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    expect(both.some((id) => id.endsWith(', retouched'))).toBe(kind === 'retouched');
  }
  const copies = [...ids].filter((id) => id.endsWith(', retouched'));
  expect(copies.length).toBeGreaterThanOrEqual(4);
  for (const copy of copies) expect(ids, copy).toContain(copy.replace(/, retouched$/, ''));
  expect(kinds.get('retouched')).toBeGreaterThan(kinds.get('own') as number);
});

test('concepts are of one split, whatever the style', async () => {
  const { pairs } = await made({ maxPairs: 620 });
  const splitOf = new Map<string, string>();
  for (const { prompt, split } of pairs) {
    if (split === 'test-style') continue; // holds a style of known concepts out
    const concept = prompt.replace(/, \w+ style$/, '');
    expect(splitOf.get(concept) ?? split, concept).toBe(split);
    splitOf.set(concept, split);
  }
});

test('as many of its own images of a caption as asked for', async () => {
  const { folder, wished } = await made({ split: 'test', maxPairs: 250, ownImages: 8 });
  const { settings } = await readManifest(folder);
  expect(settings).toMatchObject({ own_images: 8 });
  const byCaption = new Map<string, Wish[]>();
  for (const wish of wished) byCaption.set(wish.prompt, [...(byCaption.get(wish.prompt) ?? []), wish]);
  for (const all of byCaption.values()) {
    expect(all.slice(0, 8).map(({ noise }) => noise)).toEqual([...Array(6).fill(0.7), 0, 0]);
    expect(all).toHaveLength(9); // and a worse one
  }
});

test('the same line makes the same set; other seeds have other raters', async () => {
  const [one, same, other] = await Promise.all([few(), few(), few({ seed: 5 })]);
  expect(same.pairs).toEqual(one.pairs);
  expect(other.pairs).not.toEqual(one.pairs);
});

test('--own-images is for raters', async () => {
  const { code, stderr } = await runDrm(['data', 'prepare', 'emoji-prefs', '--own-images', '8', '--out', 'nowhere']);
  expect(stderr).toContain('--own-images: expected --raters N beside it');
  expect(code).toBe(2);
});

test.for([
  [['--scorer', 'judge'], '--raters with --scorer'],
  [['--early', 'tiny'], '--raters with --early'],
  [['--split', 'nowhere'], '--split nowhere'],
] as const)('%s is refused beside --raters', async ([flags, message]) => {
  const out = join(temporaryFolder(), 'set');
  const { code, stderr } = await runDrm(['data', 'prepare', 'emoji-prefs', '--raters', '3', '--out', out, ...flags]);
  expect(stderr).toContain(message);
  expect(code).toBe(2);
});
