// Reading for training: the set's index, the order of samples, batches decoded ahead, and what goes wrong on the way.
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Drop } from '../../../cli/data/io/drop.js';
import { type Batch, BatchLoader, type LoaderOptions } from '../../../cli/data/load/loader.js';
import { CaptionedSet } from '../../../cli/data/prepared/captioned_set.js';
import { prepare } from '../../../cli/data/prepared/prepare.js';
import type { OpenOptions } from '../../../cli/data/prepared/shard_reader.js';
import type { Source } from '../../../cli/data/prepared/source.js';
import { epochOrder, sampleOrder } from '../../../cli/random/order.js';
import { philox } from '../../../cli/random/philox.js';
import { temporaryFolder } from '../../run_drm.js';
import { pixelsOf, pngOf } from '../images.js';

const SIZE = 16;

/** A set of squares; `bytes` replaces some images. Five samples a shard. */
async function makeSet(count: number, bytes: Record<number, Buffer> = {}, size = SIZE): Promise<string> {
  const source: Source = {
    kind: 'captions',
    notes: [{ name: 'test' }],
    settings: {},
    extras: [],
    records: function* () {
      for (let i = 0; i < count; i++)
        yield {
          split: i % 10 === 9 ? 'test' : 'train',
          note: 0,
          make: async () => ({
            key: `sample-${i}`,
            files: [{ extension: 'png', bytes: bytes[i] ?? (await pngOf(i, size, size)) }],
            json: { caption: `caption ${i}`, number: i },
          }),
        };
    },
  };
  const folder = temporaryFolder();
  await prepare(source, folder, {
    limits: { bytes: 1e9, samples: 5 },
    signal: new AbortController().signal,
    onProgress: () => {},
    onDrop: () => {},
  });
  return folder;
}

const opened: CaptionedSet[] = [];
async function openCaptionedSet(path: string, options?: OpenOptions): Promise<CaptionedSet> {
  const set = await CaptionedSet.open(path, options);
  opened.push(set);
  return set;
}
afterAll(async () => {
  for (const set of opened) await set.close();
});

let folder: string;
beforeAll(async () => {
  folder = await makeSet(40);
});

async function batchesOf(set: CaptionedSet, options: Partial<LoaderOptions> & Pick<LoaderOptions, 'order'>) {
  const loader = new BatchLoader(set, { size: SIZE, ...options });
  const batches = [];
  for (let batch = await loader.next(); batch; batch = await loader.next()) batches.push(batch);
  await loader.close();
  return { batches, loader };
}

test('Philox gives the published words', () => {
  // Random123, kat_vectors: philox4x32 10.
  expect([...philox([0, 0, 0, 0], [0, 0])]).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  const ones = 0xffffffff;
  expect([...philox([ones, ones, ones, ones], [ones, ones])]).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
  expect([...philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])]).toEqual([
    0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
  ]);
});

test('an epoch holds every sample once, epochs and seeds differ, and batches run on over the end', () => {
  const order = sampleOrder(7, 10, 4);
  const seen = Array.from({ length: 5 }, (_, step) => order(step)).flat();
  const sorted = (list: number[]) => [...list].sort((a, b) => a - b);
  const all = Array.from({ length: 10 }, (_, i) => i);
  expect(sorted(seen.slice(0, 10))).toEqual(all);
  expect(sorted(seen.slice(10))).toEqual(all);
  expect(seen.slice(0, 10)).not.toEqual(seen.slice(10));
  // A function of the step alone, in whatever order it is asked.
  expect([4, 0, 3].map((step) => sampleOrder(7, 10, 4)(step))).toEqual([order(4), order(0), order(3)]);
  expect(sampleOrder(8, 10, 10)(0)).not.toEqual(sampleOrder(7, 10, 10)(0));
  expect(sampleOrder(7 + 2 ** 40, 10, 10)(0)).not.toEqual(sampleOrder(7, 10, 10)(0));
  expect(sampleOrder(1, 3, 8)(0).length).toBe(8);
  expect(() => sampleOrder(-1, 3, 8)).toThrow(RangeError);
  // Frozen: a checkpoint's position means the same images in every version.
  expect([...epochOrder(1, 0, 8)]).toMatchInlineSnapshot(`
    [
      3,
      0,
      6,
      7,
      2,
      4,
      1,
      5,
    ]
  `);
});

test('every position is equally likely for every sample', () => {
  const counts = Array.from({ length: 5 }, () => new Array(5).fill(0) as number[]);
  for (let epoch = 0; epoch < 5000; epoch++)
    for (const [position, sample] of epochOrder(3, epoch, 5).entries()) {
      const row = counts[position] as number[];
      row[sample] = (row[sample] as number) + 1;
    }
  // 1000 expected in each cell, deviation 28; six deviations.
  for (const row of counts) for (const count of row) expect(Math.abs(count - 1000)).toBeLessThan(170);
});

test('the set gives captions, sidecars and bytes; a split is a part of it', async () => {
  const set = await openCaptionedSet(folder);
  expect(set.length).toBe(40);
  const [first, last] = [0, set.length - 1];
  expect([set.key(first), set.caption(first)]).toEqual(['sample-9', 'caption 9']); // test shards precede train shards
  expect(await set.meta(last)).toEqual({ caption: 'caption 38', number: 38 });
  expect((await set.bytes(last)).equals(await pngOf(38, SIZE, SIZE))).toBe(true);
  expect(set.size(last)).toBe((await set.bytes(last)).length);
  await set.close();
  const part = await openCaptionedSet(folder, { split: 'test', verify: true });
  expect(part.length).toBe(4);
  await expect(openCaptionedSet(folder, { split: 'valid' })).rejects.toThrow('expected split valid, found test, train');
});

test('more shards than open files', async () => {
  const many = await makeSet(400);
  const set = await openCaptionedSet(many);
  expect(set.shards.length).toBe(80);
  const numbers = await Promise.all(
    Array.from({ length: 4 * set.length }, async (_, n) => {
      const i = (n * 7) % set.length;
      return Number((await set.meta(i)).number) === Number(set.key(i).slice(7));
    }),
  );
  expect(numbers.every(Boolean)).toBe(true);
  await set.close();
});

test('batches come in step order with the pixels of their images', async () => {
  const set = await openCaptionedSet(folder);
  const order = sampleOrder(5, set.length, 6);
  for (const keepBytes of [0, 1 << 30]) {
    const { batches, loader } = await batchesOf(set, { order, steps: 20, ahead: 3, keepBytes });
    expect(batches.map((batch) => batch.step)).toEqual(Array.from({ length: 20 }, (_, step) => step));
    for (const { step, indices, pixels, width, height } of batches) {
      expect(indices).toEqual(order(step));
      expect([width, height, pixels.length]).toEqual([SIZE, SIZE, 6 * SIZE * SIZE * 3]);
      for (const [row, i] of indices.entries()) {
        const expected = pixelsOf(Number(set.key(i).slice(7)), SIZE, SIZE);
        expect(expected.equals(pixels.subarray(row * expected.length, (row + 1) * expected.length))).toBe(true);
      }
    }
    expect(loader.waitedSeconds).toBeGreaterThan(0);
    expect(loader.badImages).toBe(0);
  }
  const resumed = await batchesOf(set, { order, firstStep: 17, steps: 20 });
  expect(resumed.batches.map((batch) => batch.indices)).toEqual([17, 18, 19].map(order));
  await set.close();
});

test('reads ahead as far as it may and no farther; what is kept is not decoded again', async () => {
  const set = await openCaptionedSet(folder);
  let asked = 0;
  const order = (step: number) => {
    asked = Math.max(asked, step + 1);
    return sampleOrder(1, set.length, 8)(step);
  };
  const loader = new BatchLoader(set, { size: SIZE, order, ahead: 3 });
  await loader.next();
  await new Promise((done) => setTimeout(done, 100));
  expect(asked).toBe(4); // one taken, three ahead
  for (let step = 1; step < 8; step++) await loader.next();
  await loader.close();
  await expect(loader.next()).rejects.toThrow('closed');

  const epoch = sampleOrder(1, set.length, 8);
  const kept = new BatchLoader(set, { size: SIZE, order: epoch, ahead: 1 });
  for (let step = 0; step < 5; step++) await kept.next();
  await new Promise((done) => setTimeout(done, 100));
  set.bytes = () => Promise.reject(new Error('read again'));
  for (let step = 5; step < 15; step++) expect((await kept.next())?.indices.length).toBe(8);
  await kept.close();
});

test('few images are at work at once, however large the batch', async () => {
  const set = await openCaptionedSet(folder);
  const bytes = set.bytes.bind(set);
  let now = 0;
  let most = 0;
  set.bytes = async (i) => {
    now += 1;
    most = Math.max(most, now);
    await new Promise((done) => setTimeout(done, 2));
    const found = await bytes(i);
    now -= 1;
    return found;
  };
  const { batches } = await batchesOf(set, { order: sampleOrder(1, set.length, 40), steps: 2, ahead: 2, keepBytes: 0 });
  expect(batches.map(({ indices }) => indices.length)).toEqual([40, 40]);
  expect(most).toBeLessThanOrEqual(8);
  expect(most).toBeGreaterThan(3);
});

test('originals of any size come as squares', async () => {
  const set = await openCaptionedSet(await makeSet(12, { 3: await pngOf(3, 90, 50), 4: await pngOf(4, 8, 90) }, 40));
  const warnings: string[] = [];
  const { batches } = await batchesOf(set, {
    order: sampleOrder(0, 12, 12),
    steps: 1,
    onWarning: (message) => warnings.push(message),
  });
  expect(batches[0]?.pixels.length).toBe(11 * SIZE * SIZE * 3);
  expect(warnings).toEqual([expect.stringContaining('sample-4: 8×90 is smaller than 16×16; left out from now on')]);
});

test('a corrupt image in the middle of an epoch is named once, counted and left out, also after a resume', async () => {
  const png = await pngOf(13, SIZE, SIZE);
  const set = await openCaptionedSet(
    await makeSet(20, { 13: png.subarray(0, png.length - 40), 2: Buffer.from('no image') }),
    {
      split: 'train',
    },
  );
  const order = sampleOrder(2, set.length, 6);
  const warnings: string[] = [];
  const onWarning = (message: string) => warnings.push(message);
  const { batches, loader } = await batchesOf(set, { order, steps: 12, onWarning });
  expect(loader.badImages).toBe(2);
  expect(warnings.length).toBe(2);
  expect(warnings.join()).toMatch(/train-0000\d\.tar: sample-13: /);
  const isGood = (i: number) => !['sample-2', 'sample-13'].includes(set.key(i));
  for (const batch of batches) {
    expect(batch.indices).toEqual(order(batch.step).filter(isGood));
    expect(batch.pixels.length).toBe(batch.indices.length * SIZE * SIZE * 3);
    const [i] = batch.indices.slice(-1);
    const expected = pixelsOf(Number(set.key(i as number).slice(7)), SIZE, SIZE);
    expect(expected.equals(batch.pixels.subarray(-expected.length))).toBe(true);
  }
  const resumed = await batchesOf(set, { order, firstStep: 8, steps: 12 });
  expect(resumed.batches).toEqual(batches.slice(8));
});

test('of a step without a good image, training has the next that are good, also after a resume; a pass has none', async () => {
  const bad = [0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15];
  const images = Object.fromEntries(bad.map((i) => [i, Buffer.from('no image')]));
  const set = await openCaptionedSet(await makeSet(19, images), { split: 'train' }); // all but sample-9, a test sample
  const order = (step: number) => Array.from({ length: 3 }, (_, i) => (3 * step + i) % set.length);
  const wholly = [0, 1, 4]; // of the six steps of an epoch
  const keysOf = (batches: { indices: number[] }[]) => batches.map(({ indices }) => indices.map((i) => set.key(i)));
  const taken = async (firstStep: number, count: number, warnings: string[] = []) => {
    const onWarning = (message: string) => warnings.push(message);
    const loader = new BatchLoader(set, { size: SIZE, order, firstStep, onWarning });
    const batches = [];
    for (let step = firstStep; step < firstStep + count; step++) {
      const batch = (await loader.next()) as Batch;
      expect([batch.step, batch.pixels.length]).toEqual([step, batch.indices.length * SIZE * SIZE * 3]);
      batches.push(batch);
    }
    await loader.close();
    return batches;
  };
  const warnings: string[] = [];
  const all = await taken(0, 6, warnings);
  const [second, third, last] = [['sample-8'], ['sample-10', 'sample-11'], ['sample-16', 'sample-17', 'sample-18']];
  expect(keysOf(all)).toEqual([second, second, second, third, last, last]);
  expect(await taken(4, 2)).toEqual(all.slice(4));
  for (const step of wholly)
    expect(warnings).toContainEqual(
      expect.stringMatching(new RegExp(`step ${step}: none of its images can be used; those of step \\d`)),
    );

  const pass = await batchesOf(set, { order, steps: 6 });
  expect(pass.loader.badImages).toBe(bad.length);
  expect(pass.batches.map(({ step }) => step)).toEqual([0, 1, 2, 3, 4, 5].filter((step) => !wholly.includes(step)));
});

test('a shard that vanishes in the middle of an epoch is named once; when nothing is left, that is an error', async () => {
  const doomed = await makeSet(40);
  const set = await openCaptionedSet(doomed, { split: 'train' });
  const warnings: string[] = [];
  const loader = new BatchLoader(set, {
    size: SIZE,
    order: sampleOrder(2, set.length, 12),
    ahead: 1,
    keepBytes: 0,
    onWarning: (message) => warnings.push(message),
  });
  rmSync(join(doomed, 'train-00003.tar'));
  let seen = 0;
  for (let step = 0; step < 6; step++) seen += (await loader.next())?.indices.length ?? 0;
  expect(seen).toBe(72 - 10); // five of 36, in two epochs
  expect(loader.badImages).toBe(5);
  expect(warnings).toEqual([expect.stringContaining('train-00003.tar')]);
  for (const { name } of set.shards) rmSync(join(doomed, name), { force: true });
  await set.close(); // else the open files would still be read
  const empty = async () => {
    for (let step = 0; step < 3; step++) await loader.next();
  };
  await expect(empty()).rejects.toThrow(/step \d+: none of its 12 images can be used .* bad so far/);
  await loader.close();
});

test('a set whose shards are missing, cut, altered or malformed does not open', async () => {
  const broken = await makeSet(20);
  const shard = join(broken, 'train-00001.tar');
  const set = await openCaptionedSet(broken);
  const bytes = set.shards.find(({ name }) => name === 'train-00001.tar')?.bytes as number;
  const flipped = Buffer.alloc(bytes, 0x20);
  writeFileSync(shard, flipped);
  await expect(openCaptionedSet(broken)).rejects.toThrow(/train-00001.tar, byte 0: a header has a wrong checksum/);
  await expect(openCaptionedSet(broken, { verify: true })).rejects.toThrow('train-00001.tar: its content has changed');
  truncateSync(shard, bytes - 512);
  await expect(openCaptionedSet(broken)).rejects.toThrow(`train-00001.tar: ${bytes - 512} bytes instead of ${bytes}`);
  rmSync(shard);
  await expect(openCaptionedSet(broken)).rejects.toThrow('1 of 5 shards are not as manifest.json says');
  expect((await openCaptionedSet(broken, { split: 'test' })).length).toBe(2); // which the loss does not touch
  writeFileSync(join(broken, 'manifest.json'), '{"format": "drm-data"');
  await expect(openCaptionedSet(broken)).rejects.toThrow('expected JSON');
  rmSync(join(broken, 'manifest.json'));
  await expect(openCaptionedSet(broken)).rejects.toThrow('make one with `drm data prepare`');
});

test('a manifest from elsewhere cannot point out of its folder', async () => {
  const folder = await makeSet(5);
  const set = await openCaptionedSet(folder);
  for (const name of ['../secret.tar', '/etc/passwd', 'a/b.tar', '.tar']) {
    const shards = [{ ...set.shards[0], name }];
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ ...set.manifest, shards }));
    await expect(openCaptionedSet(folder)).rejects.toThrow('shards[0].name: expected the name of a .tar');
  }
});

test('drops are data, not errors', () => {
  expect(new Drop('missing_image', 'where')).not.toBeInstanceOf(Error);
});
