// Preference pairs that cannot be used: each is named or counted, nothing is lost, exit codes are right.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { readManifest } from '../../../cli/data/prepared/manifest.js';
import { PairSet } from '../../../cli/data/prepared/pair_set.js';
import { drm, runDrm, temporaryFolder } from '../../run_drm.js';
import { contentOf, pngOf, write } from '../images.js';

const newFolder = () => join(temporaryFolder(), 'set');

interface Line {
  prompt: string;
  chosen: string;
  rejected: string;
  [more: string]: unknown;
}

async function lists(lines: Line[], files: Record<string, string | Uint8Array> = {}): Promise<string> {
  const images = Object.fromEntries(await Promise.all([0, 1, 2].map(async (i) => [`${i}.png`, await pngOf(i)])));
  return write(temporaryFolder(), {
    ...images,
    ...files,
    'pairs.jsonl': lines.map((line) => JSON.stringify(line)).join('\n'),
  });
}

async function prepare(folder: string, ...more: string[]) {
  const out = newFolder();
  const outcome = await runDrm([
    'data',
    'prepare',
    'jsonl',
    '--from',
    join(folder, 'pairs.jsonl'),
    '--out',
    out,
    ...more,
  ]);
  return { out, ...outcome };
}

const line = (chosen: string, rejected: string, more: object = {}): Line => ({
  prompt: `${chosen} before ${rejected}`,
  chosen,
  rejected,
  ...more,
});

test('a pair with a missing, corrupt or giant image is dropped and counted; the caption may be 100,000 characters', async () => {
  const long = '日本 é '.repeat(20_000);
  // Few bytes that hold 81 million pixels.
  const bomb = await sharp({
    create: { width: 9000, height: 9000, channels: 3, background: '#000' },
    limitInputPixels: false,
  })
    .png({ compressionLevel: 1 })
    .toBuffer();
  const whole = await sharp(await pngOf(1, 200, 200))
    .jpeg()
    .toBuffer();
  const folder = await lists(
    [
      line('0.png', '1.png', { prompt: long, confidence: 0.5, chosen_model: 'one', group: 'g' }),
      line('0.png', 'nowhere.png'),
      line('cut.jpg', '0.png'),
      line('bomb.png', '1.png'),
      line('2.png', '1.png', { tie: true }),
      line('2.png', '1.png', { confidence: 'high' }),
      { prompt: 'no names' } as Line,
      line('1.png', '2.png'),
    ],
    { 'bomb.png': bomb, 'cut.jpg': whole.subarray(0, whole.length * 0.6) },
  );
  const { out, code, stderr } = await prepare(folder);
  expect(code).toBe(0);
  expect(stderr).toMatch(/warning: too_many_pixels: bomb.png: .*more than 67108864 pixels/);
  expect(readManifest(out, 'pairs')).toMatchObject({
    records: 8,
    kept: 2,
    dropped: { missing_image: 1, undecodable_image: 1, too_many_pixels: 1, tie: 1, bad_record: 2 },
    images: { train: 3 },
  });
  const set = await PairSet.open(out);
  expect(await set.record(0)).toMatchObject({
    prompt: long,
    source: 'pairs',
    confidence: 0.5,
    chosen_model: 'one',
    group: 'g',
  });
  await set.close();
  const picky = await prepare(folder, '--min-confidence', '0.9', '--keep-ties');
  expect(readManifest(picky.out)).toMatchObject({ kept: 2, dropped: { low_confidence: 1 } });
});

test('no pair, one pair, no image where they were said to be', async () => {
  const empty = await prepare(await lists([]));
  expect([empty.code, existsSync(join(empty.out, 'manifest.json'))]).toEqual([3, false]);
  expect(empty.stderr).toContain('expected at least one usable record, found none in 0');
  const one = await prepare(await lists([line('0.png', '1.png')]));
  expect([one.code, readManifest(one.out).kept]).toEqual([0, 1]);
  const inspected = await runDrm(['data', 'inspect', one.out]);
  expect(inspected.code).toBe(0);
  expect(inspected.stdout).toMatch(/pairs +1 of 1 records/);

  const many = await lists(Array.from({ length: 5000 }, (_, i) => line(`${i}.jpg`, `${i}b.jpg`)));
  const elsewhere = temporaryFolder();
  const wrong = await prepare(many, '--images', elsewhere);
  expect(wrong.code).toBe(3);
  expect(wrong.stderr).toMatch(
    new RegExp(`${elsewhere}: expected the images that .*pairs.jsonl names, found none of the first 200 \\(such as `),
  );
  expect(readdirSync(wrong.out).filter((name) => /tar|manifest/.test(name))).toEqual([]);
  const moved = await prepare(await lists([line('old/0.png', 'old/1.png')]), '--rewrite', 'old/=');
  expect([moved.code, readManifest(moved.out).kept]).toEqual([0, 1]);
});

test('a full disk in the middle of a shard, and a kill: named, and the same command ends as if uninterrupted', async () => {
  const files = Object.fromEntries(
    await Promise.all(Array.from({ length: 40 }, async (_, i) => [`${i}.png`, await pngOf(i, 64, 64)] as const)),
  );
  const folder = await lists(
    Array.from({ length: 120 }, (_, i) =>
      line(`${i % 40}.png`, `${(7 * i + 1) % 40}.png`, { split: i % 9 ? 'train' : 'test' }),
    ),
    files,
  );
  const args = (out: string) => [
    'data',
    'prepare',
    'jsonl',
    '--from',
    join(folder, 'pairs.jsonl'),
    '--out',
    out,
    '--shard-samples',
    '10',
  ];
  const whole = newFolder();
  expect((await runDrm(args(whole))).code).toBe(0);
  const sizes = readManifest(whole).shards.map(({ bytes }) => bytes);

  const full = newFolder();
  // A limit on file size stands for the full disk; the first shard, which has most images, is over it.
  const limited = spawnSync(
    'bash',
    [
      '-c',
      `trap '' XFSZ; ulimit -f ${Math.floor(Math.max(...sizes) / 1024) - 1}; exec "$@"`,
      'limited',
      process.execPath,
      drm,
      ...args(full),
    ],
    { encoding: 'utf8' },
  );
  expect(limited.stderr).toMatch(/cannot be written: EFBIG.*finished shards are kept/s);
  expect(limited.status).toBe(4);
  expect((await runDrm(args(full))).code).toBe(0);
  expect(contentOf(full)).toEqual(contentOf(whole));

  for (const shards of [1, 4, 8]) {
    const killed = newFolder();
    await runDrm(args(killed), {
      onStart: (kill) => {
        const timer = setInterval(() => {
          const there = existsSync(killed) ? readdirSync(killed).filter((name) => /^[^.].*tar$/.test(name)).length : 0;
          if (there < shards) return;
          clearInterval(timer);
          kill('SIGKILL');
        }, 1);
      },
    });
    expect((await runDrm(args(killed))).code).toBe(0);
    expect(contentOf(killed)).toEqual(contentOf(whole));
  }
  rmSync(join(whole, 'train-00001.tar'));
  writeFileSync(join(whole, 'train-00000.tar'), 'short');
  await expect(PairSet.open(whole)).rejects.toThrow(/2 of \d+ shards are not as manifest.json says/);
});
