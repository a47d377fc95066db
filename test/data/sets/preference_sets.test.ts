// The published preference sets in miniature: every pair, drop and image as EXPECTED.json and IMAGES.json say.
// DRM_SAMPLES names another folder of the same form.
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import sharp from 'sharp';
import { c as createTar } from 'tar';
import { expect, test } from 'vitest';
import { Drop } from '../../../cli/data/io/drop.js';
import { decodeImage } from '../../../cli/data/io/image.js';
import { ZipFolder } from '../../../cli/data/io/zip.js';
import { readManifest } from '../../../cli/data/prepared/manifest.js';
import { PairSet } from '../../../cli/data/prepared/pair_set.js';
import { repository, runDrm, temporaryFolder } from '../../run_drm.js';

const samples = resolve(process.env.DRM_SAMPLES ?? join(repository, 'test/samples'));
const readJson = (name: string) => JSON.parse(readFileSync(join(samples, name), 'utf8'));
const expected = readJson('EXPECTED.json');
const imageFacts = readJson('IMAGES.json') as Record<string, ImageFacts>;
const newFolder = () => join(temporaryFolder(), 'set');

interface ImageFacts {
  ok: boolean;
  width: number;
  height: number;
  mean_rgb: number[];
  exact: boolean;
  colour_managed: boolean;
}

async function prepare(set: string, from: string, ...more: string[]) {
  const out = newFolder();
  const outcome = await runDrm(['data', 'prepare', set, '--from', from, '--out', out, ...more]);
  return { out, ...outcome };
}

interface Read {
  pairs: { winner: string; loser: string; sha: string; group: string | undefined; row: number; split: string }[];
  images: Map<string, Uint8Array>;
}

async function read(out: string): Promise<Read> {
  const set = await PairSet.open(out, { verify: true });
  const pairs: Read['pairs'] = [];
  for (let i = 0; i < set.length; i++) {
    const { prompt, chosen, rejected, group, row = -1, split } = await set.record(i);
    pairs.push({
      winner: set.imageId(chosen),
      loser: set.imageId(rejected),
      sha: createHash('sha256').update(prompt).digest('hex').slice(0, 16),
      group,
      row,
      split,
    });
  }
  const images = new Map<string, Uint8Array>();
  for (let i = 0; i < set.imageCount; i++) images.set(set.imageId(i), await set.image(i));
  await set.close();
  return { pairs, images };
}

/** Size and mean colour of each stored image; `keyOf` is its name in IMAGES.json. */
async function expectImages({ images }: Read, keyOf: (id: string) => string) {
  expect(images.size).toBeGreaterThan(0);
  for (const [id, bytes] of images) {
    const facts = imageFacts[keyOf(id)] as ImageFacts;
    const image = await decodeImage(bytes);
    if (image instanceof Drop) throw new Error(`${id}: ${image.detail}`);
    const mean = [0, 1, 2].map((c) => {
      let sum = 0;
      for (let i = c; i < image.pixels.length; i += 3) sum += image.pixels[i] as number;
      return sum / (image.pixels.length / 3);
    });
    expect([id, image.width, image.height, facts.ok]).toEqual([id, facts.width, facts.height, true]);
    for (const [c, value] of mean.entries())
      expect(Math.abs(value - (facts.mean_rgb[c] as number)), `${id} channel ${c}`).toBeLessThan(
        facts.exact ? 0.0101 : 0.6,
      );
  }
}

interface Summary {
  records: number;
  kept: number;
  drop_reasons: Record<string, number>;
  kept_pairs: { index: number; winner?: string; loser?: string; winner_uid?: string; prompt_sha?: string }[];
}

function expectCounts(out: string, { records, kept, drop_reasons }: Omit<Summary, 'kept_pairs'>) {
  expect(readManifest(out, 'pairs')).toMatchObject({ records, kept, dropped: drop_reasons });
}

test.each(['train', 'test'])('HPDv3 %s', async (split) => {
  const { out, code } = await prepare('hpdv3', join(samples, 'hpdv3'), '--split', split);
  expect(code).toBe(0);
  const summary = expected.hpdv3[split] as Summary;
  expectCounts(out, summary);
  const found = await read(out);
  expect(found.pairs.map(({ row, winner, loser }) => ({ index: row, winner, loser }))).toEqual(
    summary.kept_pairs.map(({ index, winner, loser }) => ({ index, winner, loser })),
  );
  for (const [i, pair] of summary.kept_pairs.entries())
    if (pair.prompt_sha !== undefined) expect(found.pairs[i]?.sha).toBe(pair.prompt_sha);
  await expectImages(found, (id) => `hpdv3/${id}`);
});

test('HPDv3 out of its archive parts: the same set, and nothing of the unpacking stays', async () => {
  const folder = temporaryFolder();
  cpSync(join(samples, 'hpdv3'), folder, { recursive: true });
  const whole = await prepare('hpdv3', folder);
  rmSync(join(folder, 'images'), { recursive: true });
  const { out, code } = await prepare('hpdv3', folder);
  expect(code).toBe(0);
  expect(await read(out)).toEqual(await read(whole.out));
  const { settings: _, ...manifest } = readManifest(out);
  expect(readManifest(whole.out)).toMatchObject(manifest);
  expect(readdirSync(out).sort()).toEqual(['manifest.json', 'test-00000.tar', 'train-00000.tar']);
});

test('HPDv3 mixed with Pick-a-Pic and ImageReward: the images of all three', async () => {
  const mix = (list: string, images: string) => ['--mix', `${list}=${join(samples, images)}`];
  const { out, code } = await prepare(
    'hpdv3',
    join(samples, 'hpdv3'),
    ...['--split', 'train'],
    ...mix('pickapic.json', 'pickapic'),
    ...mix('imagereward.json', 'imagerewarddb'),
  );
  expect(code).toBe(0);
  const { kept, sources } = readManifest(out);
  expect(kept).toBe(expected.mix.total);
  expect(sources.map(({ name, kept }) => [name, kept])).toEqual(
    ['hpdv3', 'pickapic', 'imagereward'].map((name) => [name, expected.mix[name]]),
  );
  await expectImages(await read(out), (id) =>
    id.startsWith('ImageRewardDB/')
      ? id.replace('ImageRewardDB/', 'imagerewarddb/')
      : id.startsWith('images/')
        ? `hpdv3/${id}`
        : `pickapic/${id.replace(/\.jpg$/, '')}`,
  );
});

test('HPDv3: samples by seed, other thresholds', async () => {
  const from = join(samples, 'hpdv3');
  const take = (seed: string) => ['--split', 'train', '--sample', '4', '--seed', seed];
  const rows = async ({ out }: { out: string }) => (await read(out)).pairs.map(({ row }) => row);
  const one = await prepare('hpdv3', from, ...take('1'));
  expect(readManifest(one.out).dropped.not_sampled).toBe(
    expected.hpdv3.train.records - (expected.hpdv3.train.drop_reasons.low_confidence ?? 0) - 4,
  );
  expect(await rows(await prepare('hpdv3', from, ...take('1')))).toEqual(await rows(one));
  const seeds = await Promise.all(
    ['2', '3', '4'].map(async (seed) => rows(await prepare('hpdv3', from, ...take(seed)))),
  );
  expect(new Set([await rows(one), ...seeds].map(String)).size).toBeGreaterThan(1);
  const all = await prepare('hpdv3', from, '--split', 'train', '--min-confidence', '0');
  expect(readManifest(all.out).dropped.low_confidence).toBeUndefined();
});

test('HPDv2 train', async () => {
  const { out, code } = await prepare('hpdv2', join(samples, 'hpdv2'), '--split', 'train');
  expect(code).toBe(0);
  const summary = expected.hpdv2.train as Summary;
  expectCounts(out, summary);
  const found = await read(out);
  expect(found.pairs.map(({ row, winner, loser }) => ({ index: row, winner, loser }))).toEqual(summary.kept_pairs);
  await expectImages(found, (id) => `hpdv2/train/${id}`);
});

const pairKey = ({ group, winner, loser }: { group?: unknown; winner: string; loser: string }) =>
  `${group} ${winner} > ${loser}`;

test('HPDv2 test: rankings to pairs, without those that touch a bad image; ties on request', async () => {
  const from = join(samples, 'hpdv2');
  const { out, code } = await prepare('hpdv2', from, '--split', 'test');
  expect(code).toBe(0);
  const { pairs, decided_pairs, tied_pairs } = expected.hpdv2.test;
  const found = await read(out);
  expect(found.pairs.map(pairKey).sort()).toEqual(pairs.map(pairKey).sort());
  await expectImages(found, (id) => `hpdv2/test/${id}`);
  const ties = await prepare('hpdv2', from, '--split', 'test', '--keep-ties');
  expect(readManifest(ties.out).kept).toBe(decided_pairs + tied_pairs);
  const set = await PairSet.open(ties.out);
  let tied = 0;
  for (let i = 0; i < set.length; i++) if ((await set.record(i)).tie) tied += 1;
  expect(tied).toBe(tied_pairs);
  await set.close();
});

test('HPDv2 out of train.tar.gz and test.tar.gz', async () => {
  const folder = temporaryFolder();
  cpSync(join(samples, 'hpdv2'), folder, { recursive: true });
  for (const split of ['train', 'test']) {
    await createTar({ cwd: folder, file: join(folder, `${split}.tar.gz`), gzip: true }, [split]);
    rmSync(join(folder, split), { recursive: true });
  }
  const { out } = await prepare('hpdv2', folder);
  expect(await read(out)).toEqual(await read((await prepare('hpdv2', join(samples, 'hpdv2'))).out));
});

const rewards = ['train', 'validation', 'test'];

interface RankingSummary {
  all_pairs: number;
  kept: number;
  drop_reasons: Record<string, number>;
  kept_pairs: { prompt_id: string; winner: string; loser: string }[];
}

const rankingKeys = (summary: RankingSummary) =>
  summary.kept_pairs.map(({ prompt_id, ...pair }) => pairKey({ group: prompt_id, ...pair })).sort();

test.each(rewards)('ImageRewardDB %s, images in zips', async (split) => {
  const { out, code } = await prepare('imagereward', join(samples, 'imagerewarddb'), '--split', split);
  expect(code).toBe(0);
  const summary = expected.imagerewarddb[split] as RankingSummary;
  expectCounts(out, { records: summary.all_pairs, ...summary });
  const found = await read(out);
  expect(found.pairs.map(pairKey).sort()).toEqual(rankingKeys(summary));
  await expectImages(found, (id) => `imagerewarddb/${id}`);
});

/** Unpacks each zip of ImageRewardDB into a folder of its own name. */
async function unpackZips(folder: string, placeOf: (zip: string, name: string) => string) {
  for (const split of rewards)
    for (const name of readdirSync(join(folder, 'images', split)).filter((name) => name.endsWith('.zip'))) {
      const zip = await ZipFolder.open(join(folder, 'images', split, name));
      for (const member of zip.names()) {
        const bytes = await zip.read(member);
        const place = join(folder, placeOf(`images/${split}/${name.replace(/\.zip$/, '')}`, member));
        mkdirSync(dirname(place), { recursive: true });
        if (!(bytes instanceof Drop)) writeFileSync(place, bytes);
      }
      zip.close();
      rmSync(join(folder, 'images', split, name));
    }
}

test('ImageRewardDB unpacked, and the authors’ test list of the same images', async () => {
  const folder = temporaryFolder();
  cpSync(join(samples, 'imagerewarddb'), folder, { recursive: true });
  await unpackZips(folder, (zip, name) => `${zip}/${name}`);
  const { out } = await prepare('imagereward', folder);
  const split = (pairs: Read['pairs'], name: string) =>
    pairs
      .filter((pair) => pair.split === name)
      .map(pairKey)
      .sort();
  const found = await read(out);
  for (const name of rewards) expect(split(found.pairs, name)).toEqual(rankingKeys(expected.imagerewarddb[name]));
  const nameOf = (key: string) => key.replace(/\S+\//g, '');
  const want = rankingKeys(expected.imagerewarddb.test).map(nameOf);
  const list = await prepare('imagereward', join(folder, 'test.json'));
  expect((await read(list.out)).pairs.map(pairKey).map(nameOf).sort()).toEqual(want);
  expect(readManifest(list.out).dropped).toEqual(expected.imagerewarddb.test.drop_reasons);
  const zipped = await prepare('imagereward', join(samples, 'imagerewarddb/test.json'));
  expect((await read(zipped.out)).pairs.map(pairKey).map(nameOf).sort()).toEqual(want);
});

test.each(['train', 'validation_unique', 'test_unique'])('Pick-a-Pic %s', async (split) => {
  const { out, code } = await prepare('pickapic', join(samples, 'pickapic'), '--split', split);
  expect(code).toBe(0);
  const summary = expected.pickapic[split];
  expectCounts(out, summary);
  const found = await read(out);
  expect(
    found.pairs.map(({ row, winner, loser, sha }) => ({
      index: row,
      winner_uid: winner,
      loser_uid: loser,
      prompt_sha: sha,
    })),
  ).toEqual(summary.kept_pairs);
  expect(found.images.size).toBe(summary.distinct_images_in_kept);
  expect(readManifest(out).images).toEqual({ [split]: summary.distinct_images_in_kept });
  await expectImages(found, (id) => `pickapic/${id}`);
});

test('--size squashes larger images by the core, lossless; --max-pairs takes the first that can be used', async () => {
  const { out } = await prepare(
    'hpdv3',
    join(samples, 'hpdv3'),
    '--split',
    'train',
    '--size',
    '32',
    '--max-pairs',
    '3',
  );
  const found = await read(out);
  expect(found.pairs.length).toBe(3);
  expect(readManifest(out).records).toBe(expected.hpdv3.train.kept_pairs[2].index + 1);
  for (const bytes of found.images.values()) {
    const { width, height, format } = await sharp(bytes).metadata();
    expect([width, height, format]).toEqual([32, 32, 'webp']);
  }
});

test('what is wrong with the input is said at once, with what to do', async () => {
  const say = async (set: string, from: string, ...more: string[]) => {
    const { code, stderr, out } = await prepare(set, from, ...more);
    expect(existsSync(join(out, 'manifest.json'))).toBe(false);
    return `${code} ${stderr}`;
  };
  const hpdv3 = join(samples, 'hpdv3');
  expect(await say('hpdv3', hpdv3, '--split', 'tset')).toMatch(/^2 .*--split tset: expected all, train, test/s);
  expect(await say('pickapic', join(samples, 'pickapic'), '--split', 'all_of_it')).toMatch(
    /^2 .*expected all, test_unique, train, validation_unique/s,
  );
  expect(await say('hpdv3', '/nowhere')).toMatch(/^3 .*\/nowhere: expected the folder with train.json/s);
  const empty = temporaryFolder();
  expect(await say('hpdv3', hpdv3, '--split', 'train', '--images', empty)).toMatch(
    new RegExp(
      `^3 .*${empty}: expected the images that .*train.json names, found none of the first \\d+; say where`,
      's',
    ),
  );
  expect(await say('hpdv3', hpdv3, '--images', join(empty, 'none'))).toMatch(/^3 .*check --images/s);
  expect(await say('hpdv3', hpdv3, '--mix', 'pickapic.json')).toMatch(/^2 .*expected list=images/s);
  writeFileSync(join(empty, 'train.json'), '[]');
  mkdirSync(join(empty, 'images'));
  expect(await say('hpdv3', empty)).toMatch(/^3 .*expected at least one usable record, found none in 0/s);
  writeFileSync(join(empty, 'train.json'), '[{"prompt": "a"}, ]]');
  expect(await say('hpdv3', empty)).toMatch(/^3 .*train.json, byte 19: expected a JSON array of objects/s);
  writeFileSync(join(empty, 'train.json'), '[{"prompt": "a", "path1": "images/x.jpg", "path2": 1}]');
  expect(await say('hpdv3', empty)).toMatch(/^3 .*found none in 1 \(1 bad_record\)/s);
});

test('a part of the archive that is missing, or damaged, is named', async () => {
  const folder = temporaryFolder();
  cpSync(join(samples, 'hpdv3'), folder, { recursive: true });
  rmSync(join(folder, 'images'), { recursive: true });
  const parts = readdirSync(folder)
    .filter((name) => name.startsWith('images.tar.gz.'))
    .sort();
  const last = parts.at(-1) as string;
  const bytes = readFileSync(join(folder, last));
  writeFileSync(join(folder, last), bytes.subarray(0, bytes.length / 2));
  const cut = await prepare('hpdv3', folder);
  expect(`${cut.code} ${cut.stderr}`).toMatch(/^3 .*the archive is damaged .* after \d+ of \d+ bytes; fetch it again/s);
  // A resumed run goes on with what was unpacked before the damage.
  writeFileSync(join(folder, last), bytes);
  expect((await runDrm(['data', 'prepare', 'hpdv3', '--from', folder, '--out', cut.out])).code).toBe(0);
  expect(readdirSync(cut.out)).not.toContain('.pictures');
  renameSync(join(folder, parts[1] as string), join(folder, 'elsewhere'));
  const gap = await prepare('hpdv3', folder);
  expect(`${gap.code} ${gap.stderr}`).toMatch(/^3 .*expected part 01, found images.tar.gz.02 in its place/s);
});
