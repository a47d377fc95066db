// Pairs on disk: each image once, whatever was dropped or interrupted in between, and read back by index.
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Drop } from '../../../cli/data/io/drop.js';
import { IdTable } from '../../../cli/data/io/id_table.js';
import { readManifest } from '../../../cli/data/prepared/manifest.js';
import { type Pair, type PairSourceOptions, pairSource } from '../../../cli/data/prepared/pair.js';
import { PairSet } from '../../../cli/data/prepared/pair_set.js';
import { prepare } from '../../../cli/data/prepared/prepare.js';
import { temporaryFolder } from '../../run_drm.js';
import { contentOf, pngOf } from '../images.js';

/** Images by number: 9 is missing, 8 no image, 7 is large; every read is noted. */
const reads: number[] = [];
const image = (number: number) => ({
  id: `image ${number}`,
  read: async () => {
    reads.push(number);
    if (number === 9) return new Drop('missing_image', 'image 9');
    return number === 8 ? Buffer.from('no image') : number === 7 ? pngOf(7, 80, 20) : pngOf(number);
  },
});
const pair = (chosen: number, rejected: number, split = 'train'): Pair => ({
  split,
  fields: { prompt: `${chosen} before ${rejected}\u2028`, source: 'numbers', confidence: chosen / 10, row: rejected },
  chosen: image(chosen),
  rejected: image(rejected),
});
const pairs = (): (Pair | Drop)[] => [
  pair(0, 1),
  pair(1, 8), // dropped: 1 is in the set all the same, 2 below is not yet
  pair(2, 9),
  new Drop('tie', 'row 3'),
  pair(2, 1),
  pair(8, 9), // two reasons: the missing one counts
  pair(0, 2, 'test'),
  pair(3, 7),
  pair(3, 0),
  pair(3, 0),
];

async function write(folder: string, options: Partial<PairSourceOptions> = {}, stopAfter = Number.POSITIVE_INFINITY) {
  const stop = new AbortController();
  const source = pairSource({ notes: [{ name: 'numbers' }], settings: { source: 'numbers' }, pairs, ...options });
  return prepare(source, folder, {
    limits: { bytes: 1e9, samples: 2 },
    signal: stop.signal,
    onProgress: (done) => {
      if (done >= stopAfter) stop.abort();
    },
    onDrop: () => {},
  });
}

test('an image is stored once a split, with the first pair that is kept; drops are counted by the first reason', async () => {
  const folder = temporaryFolder();
  await write(folder);
  expect(readManifest(folder)).toMatchObject({
    kind: 'pairs',
    records: 10,
    kept: 6,
    dropped: { missing_image: 2, tie: 1, undecodable_image: 1 },
    splits: { train: 5, test: 1 },
    images: { train: 5, test: 2 },
  });
  const set = await PairSet.open(folder, { verify: true });
  expect([set.length, set.imageCount]).toEqual([6, 7]);
  const named = [];
  for (let i = 0; i < set.length; i++) {
    const record = await set.record(i);
    expect([set.chosen(i), set.rejected(i)]).toEqual([record.chosen, record.rejected]);
    named.push([record.split, record.key, set.imageId(record.chosen), set.imageId(record.rejected)]);
  }
  expect(named.sort()).toEqual([
    ['test', '000000006', 'image 0', 'image 2'],
    ['train', '000000000', 'image 0', 'image 1'],
    ['train', '000000004', 'image 2', 'image 1'],
    ['train', '000000007', 'image 3', 'image 7'],
    ['train', '000000008', 'image 3', 'image 0'],
    ['train', '000000009', 'image 3', 'image 0'],
  ]);
  for (let i = 0; i < set.imageCount; i++) {
    const [, number] = set.imageId(i).split(' ');
    const bytes = await (number === '7' ? pngOf(7, 80, 20) : pngOf(Number(number)));
    expect(Buffer.compare(await set.image(i), bytes)).toBe(0);
  }
  expect(await set.record(set.length - 1)).toMatchObject({
    prompt: '3 before 0\u2028',
    source: 'numbers',
    confidence: 0.3,
    row: 0,
  });
  await set.close();
  const test = await PairSet.open(folder, { split: 'test' });
  expect([test.length, test.imageCount, test.imageId(test.chosen(0))]).toEqual([1, 2, 'image 0']);
  await test.close();
});

test('stopped and resumed: the same bytes, and no finished image is read again', async () => {
  const whole = temporaryFolder();
  await write(whole);
  for (const stopAfter of [1, 3, 5, 7]) {
    const folder = temporaryFolder();
    await expect(write(folder, {}, stopAfter)).rejects.toMatchObject({ code: 'CANCELLED' });
    const finished = readdirSync(folder).filter((name) => /^[^.].*\.tar$/.test(name));
    reads.length = 0;
    await write(folder);
    if (finished.includes('train-00000.tar')) expect(reads).not.toContain(1);
    expect(contentOf(folder)).toEqual(contentOf(whole));
  }
});

test('self-contained: every pair has both files; a size squashes what is larger', async () => {
  const folder = temporaryFolder();
  await write(folder, { selfContained: true, size: 60 });
  const set = await PairSet.open(folder);
  expect([set.length, set.imageCount]).toEqual([6, 7]);
  const { default: sharp } = await import('sharp');
  for (let i = 0; i < set.imageCount; i++) {
    const { width, height, format } = await sharp(await set.image(i)).metadata();
    const large = set.imageId(i) === 'image 7';
    expect([width, height, format]).toEqual(large ? [60, 60, 'webp'] : [40, 32, 'png']);
  }
  await set.close();
});

test('a set of captions is no set of pairs, and the reverse', async () => {
  const folder = temporaryFolder();
  await write(folder);
  expect(() => readManifest(folder, 'captions')).toThrow(/expected images with captions, found preference pairs/);
});

test('ids by the million find their numbers', () => {
  const table = new IdTable();
  const id = (i: number) => `images/${(i * 2654435761) % 4294967296}-ü${i}.jpg`;
  for (let i = 0; i < 300_000; i++) if (table.add(id(i)) !== i) throw new Error(`${i} was taken for another`);
  for (let i = 0; i < 300_000; i += 7)
    if (table.find(id(i)) !== i || table.add(id(i)) !== i || table.text(i) !== id(i)) throw new Error(`lost ${i}`);
  expect([table.length, table.find('images/none.jpg'), table.find('')]).toEqual([300_000, -1, -1]);
});
