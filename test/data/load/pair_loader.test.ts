// Batches of pairs: what a pass holds, what happens to bad images, where a resumed run goes on.
import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PairBatch, PairLoader, type PairLoaderOptions } from '../../../cli/data/load/pair_loader.js';
import { pairSource } from '../../../cli/data/prepared/pair.js';
import { PairSet } from '../../../cli/data/prepared/pair_set.js';
import { prepare } from '../../../cli/data/prepared/prepare.js';
import { sampleOrder } from '../../../cli/random/order.js';
import { temporaryFolder } from '../../run_drm.js';
import { pixelsOf, pngOf } from '../images.js';

const SIZE = 16;
const PAIRS = 12;

const opened: PairSet[] = [];
afterAll(async () => {
  for (const set of opened) await set.close();
});

/** Pair i prefers image i to image i + 1; some may be ties. */
async function makeSet(ties: number[] = []): Promise<string> {
  const folder = temporaryFolder();
  const image = (i: number) => ({ id: `p${i}`, read: () => pngOf(i, SIZE, SIZE) });
  const pairs = Array.from({ length: PAIRS }, (_, i) => ({
    split: 'train',
    fields: { prompt: `prompt ${i % 5}`, source: 'test', ...(ties.includes(i) && { tie: true as const }) },
    chosen: image(i),
    rejected: image(i + 1),
  }));
  await prepare(pairSource({ notes: [{ name: 'test' }], settings: {}, pairs: () => pairs }), folder, {
    limits: { bytes: 1e9, samples: 5 },
    signal: new AbortController().signal,
    onProgress: () => {},
    onDrop: () => {},
  });
  return folder;
}

let folder: string;
beforeAll(async () => {
  folder = await makeSet();
});

async function open(path = folder): Promise<PairSet> {
  const set = await PairSet.open(path);
  opened.push(set);
  return set;
}

const options = (more: Partial<PairLoaderOptions> = {}): PairLoaderOptions => ({
  size: SIZE,
  order: sampleOrder(3, PAIRS, 4),
  pass: 0,
  pixels: true,
  ...more,
});

async function load(set: PairSet, steps: number, more: Partial<PairLoaderOptions> = {}) {
  const loader = new PairLoader(set, options({ steps, ...more }));
  const batches: PairBatch[] = [];
  for (let batch = await loader.next(); batch; batch = await loader.next()) batches.push(batch);
  await loader.close();
  return { batches, loader };
}

/** A set whose images of these ids are no images. */
async function withBad(ids: string[]): Promise<PairSet> {
  const set = await open();
  const whole = set.image.bind(set);
  set.image = async (i) => (ids.includes(set.imageId(i)) ? new Uint8Array(100) : whole(i));
  return set;
}

test('a pass holds the chosen of its pairs, then the rejected, in the order asked for', async () => {
  const set = await open();
  const { batches } = await load(set, 3);
  const order = sampleOrder(3, PAIRS, 4);
  for (const [step, { passes, count }] of batches.entries()) {
    expect(count).toBe(4);
    expect(passes).toHaveLength(1);
    const { samples, images, captions, pixels, height, width } = passes[0] as PairBatch['passes'][0];
    expect(samples).toEqual(order(step));
    expect(images.map((p) => set.imageId(p))).toEqual([
      ...samples.map((i) => `p${i}`),
      ...samples.map((i) => `p${i + 1}`),
    ]);
    expect(captions).toEqual(samples.map((i) => `prompt ${i % 5}`));
    expect([height, width]).toEqual([SIZE, SIZE]);
    const wanted = Buffer.concat([
      ...samples.map((i) => pixelsOf(i, SIZE, SIZE)),
      ...samples.map((i) => pixelsOf(i + 1, SIZE, SIZE)),
    ]);
    expect(wanted.equals(pixels as Uint8Array)).toBe(true);
  }
});

test('passes share a step out, and hold what it holds', async () => {
  const set = await open();
  const whole = (await load(set, 3)).batches;
  const { batches } = await load(set, 3, { pass: 3 });
  for (const [step, { passes, count }] of batches.entries()) {
    expect(passes.map(({ samples }) => samples.length)).toEqual([3, 1]);
    expect(count).toBe(4);
    expect(passes.flatMap(({ samples }) => samples)).toEqual(whole[step]?.passes[0]?.samples);
    const each = SIZE ** 2 * 3;
    const first = passes.flatMap(({ pixels, samples }) => [...(pixels?.subarray(0, samples.length * each) ?? [])]);
    expect(first).toEqual([...(whole[step]?.passes[0]?.pixels?.subarray(0, 4 * each) ?? [])]);
  }
});

test('a later first step gives the batches of then; images may have other numbers, or no pixels', async () => {
  const set = await open();
  const all = (await load(set, 6)).batches;
  const late = (await load(set, 6, { firstStep: 4, keepBytes: 0 })).batches;
  expect(late).toEqual(all.slice(4));
  const cached = (await load(set, 1, { pixels: false, firstImage: 100 })).batches[0]?.passes[0];
  expect(cached?.pixels).toBeUndefined();
  expect(cached?.images).toEqual(all[0]?.passes[0]?.images.map((p) => p + 100));
});

test('any size comes out as the square asked for; prompts become tokens where they are wanted', async () => {
  const set = await open();
  const ids = (prompt: string) => BigInt64Array.of(BigInt(prompt.length));
  const tokens = async (prompt: string) => ({ clipL: ids(prompt), clipG: ids(prompt), t5: ids(prompt) });
  const pass = (await load(set, 1, { size: 24, tokens })).batches[0]?.passes[0];
  expect(pass?.pixels).toHaveLength(8 * 24 * 24 * 3);
  expect(pass?.prompts?.map(({ clipL }) => clipL[0])).toEqual([8n, 8n, 8n, 8n]);
});

test('a pair goes with one of its images, which is named once; the others stay as they are', async () => {
  const told: string[] = [];
  const set = await withBad(['p3']);
  const { batches, loader } = await load(set, 6, { onWarning: (message) => told.push(message) }); // two epochs
  const samples = batches.flatMap(({ passes }) => passes.flatMap((pass) => pass.samples));
  const kept = Array.from({ length: PAIRS }, (_, i) => i).filter((i) => i !== 2 && i !== 3);
  expect(samples.sort((a, b) => a - b)).toEqual(kept.flatMap((i) => [i, i]));
  expect(told).toHaveLength(1);
  expect(told[0]).toContain(`${folder}: image p3`);
  expect([loader.badPairs, loader.badImages]).toEqual([2, 1]);
  const good = (await load(await open(), 6)).batches;
  for (const [step, batch] of batches.entries()) {
    const expected = good[step]?.passes[0]?.samples.filter((i) => i !== 2 && i !== 3);
    expect(batch.passes.flatMap((pass) => pass.samples)).toEqual(expected);
  }
});

test('ties are left out', async () => {
  const { batches, loader } = await load(await open(await makeSet([1, 5])), 3);
  const samples = batches.flatMap(({ passes }) => passes.flatMap((pass) => pass.samples));
  expect(samples.sort((a, b) => a - b)).toEqual([0, 2, 3, 4, 6, 7, 8, 9, 10, 11]);
  expect([loader.badPairs, loader.badImages]).toEqual([2, 0]);
});

test('where no pair of a step can be used, the next step gives its own; a pass goes on without it', async () => {
  const order = (step: number) =>
    [
      [0, 1],
      [2, 3],
      [4, 5],
    ][step % 3] as number[];
  const told: string[] = [];
  const set = await withBad(['p2', 'p4']); // pairs 1 to 4: the whole of the second step
  const { batches } = await load(set, 3, { order });
  expect(batches.map(({ passes }) => passes[0]?.samples)).toEqual([[0], [5]]);
  const loader = new PairLoader(set, { ...options(), order, onWarning: (message) => told.push(message) });
  const three = [await loader.next(), await loader.next(), await loader.next()];
  await loader.close();
  expect(three.map((batch) => [batch?.step, batch?.passes[0]?.samples])).toEqual([
    [0, [0]],
    [1, [5]],
    [2, [5]],
  ]);
  expect(told).toContain('[data] step 1: none of its pairs can be used; those of step 2 take their place');
});

test('a set of which no pair can be used is an error', async () => {
  const set = await withBad(Array.from({ length: PAIRS + 1 }, (_, i) => `p${i}`));
  const loader = new PairLoader(set, options());
  await expect(loader.next()).rejects.toThrow(/expected pairs that can be used, found none among 12; check it with/);
  await loader.close();
});

test('a shard that is cut on the way is an error that names it and says what to look with', async () => {
  const lost = await makeSet();
  const set = await open(lost);
  truncateSync(join(lost, set.shards[0]?.name ?? ''), 600);
  await expect(load(set, 6)).rejects.toMatchObject({ code: 'BAD_FILE' });
  await expect(load(set, 6)).rejects.toThrow(set.shards[0]?.name);
  await expect(load(set, 6)).rejects.toThrow(`drm data inspect ${lost} --verify`);
});
