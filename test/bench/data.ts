// `npm run bench -- data`: preparing preference pairs at size. Makes a Pick-a-Pic shard of
// 500 MB (row groups of 1,000 rows, an image column of one page) and an HPDv3 list of 200 MB with its images in 13 archive
// parts, prepares both in processes of their own, and decodes the same images in a plain loop of sharp. Then both again,
// killed half-way and resumed: the manifests must be the same.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createGzip } from 'node:zlib';
import { fileWriter, parquetWrite } from 'hyparquet-writer';
import sharp from 'sharp';
import { END, padded, tarHeader } from '../../cli/data/io/tar.js';
import { philox } from '../../cli/random/philox.js';
import { drm, machine, rounded, timed } from './common.js';

const EDGE = 768;
const PARTS = 13;
const DRAWN = 200;

/** Uniform in [0, 1): the same for every run of the bench. */
const drawn = (row: number, what: number): number => (philox([row, what, 0, 0], [5, 0])[0] as number) / 2 ** 32;

const uid = (number: number): string => {
  const hex = createHash('sha256').update(String(number)).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
};

/** A JPEG of some 165 kB, as large as a real one of its set. */
async function image(number: number): Promise<Buffer> {
  const coarse = Uint8Array.from({ length: 24 * 24 * 3 }, (_, i) => 256 * drawn(number, i));
  const { data } = await sharp(coarse, { raw: { width: 24, height: 24, channels: 3 } })
    .resize(EDGE, EDGE, { kernel: 'cubic' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  let state = number + 1;
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[i] = Math.max(0, Math.min(255, (data[i] as number) + (state >>> 28) - 8));
  }
  return sharp(data, { raw: { width: EDGE, height: EDGE, channels: 3 } })
    .jpeg({ quality: 93 })
    .toBuffer();
}

async function makePickapic(folder: string, images: Buffer[]): Promise<{ bytes: number }> {
  const rows = images.length / 2;
  const path = join(folder, 'data/train-00000-of-00001-0123456789abcdef.parquet');
  mkdirSync(dirname(path), { recursive: true });
  const numbers = Array.from({ length: rows }, (_, i) => i);
  const label = numbers.map((i) => (drawn(i, 1) < 0.11 ? 0.5 : drawn(i, 2) < 0.5 ? 0 : 1));
  const text = (name: string, of: (i: number) => string) => ({ name, data: numbers.map(of), type: 'STRING' as const });
  const image = (side: number) => ({
    name: `jpg_${side}`,
    data: numbers.map((i) => images[2 * i + side] as Buffer),
    type: 'BYTE_ARRAY' as const,
    encoding: 'PLAIN' as const,
    offsetIndex: false,
  });
  await parquetWrite({
    writer: fileWriter(path),
    columnData: [
      text('caption', (i) => `an image, number ${i}, of ${'many words '.repeat(1 + (i % 9))}`),
      { name: 'has_label', data: numbers.map(() => true), type: 'BOOLEAN' },
      text('image_0_uid', (i) => uid(2 * i)),
      text('image_1_uid', (i) => uid(2 * i + 1)),
      { name: 'label_0', data: label, type: 'DOUBLE' },
      text('model_0', () => 'one'),
      text('model_1', () => 'another'),
      image(0),
      image(1),
    ],
    rowGroupSize: 1000,
    pageSize: 2 ** 31,
    statistics: false,
  });
  return { bytes: statSync(path).size };
}

/** A list of `records` over the images, 700 bytes a record, and the images in parts of one gzip stream. */
async function makeHpdv3(
  folder: string,
  images: Buffer[],
  records: number,
): Promise<{ list: number; archive: number }> {
  mkdirSync(folder, { recursive: true });
  const name = (number: number) => `images/${uid(number)}.jpg`;
  const list = function* () {
    yield '[';
    for (let i = 0; i < records; i++) {
      const [a, b] = [1, 2].map((what) => Math.floor(drawn(i, what) * images.length)) as [number, number];
      const record = {
        prompt: `record ${i}: ${'a tin boat on a lake at dusk, '.repeat(14)}`,
        choice_dist: [13, 6],
        confidence: drawn(i, 3) < 0.3 ? 0.9 : 0.99,
        path1: name(a),
        path2: name(b === a ? (a + 1) % images.length : b),
        model1: 'kolors',
        model2: 'sdxl',
      };
      yield `${i > 0 ? ', ' : ''}${JSON.stringify(record)}`;
    }
    yield ']';
  };
  await pipeline(Readable.from(list()), createWriteStream(join(folder, 'train.json')));
  const members = function* () {
    for (const [i, bytes] of images.entries()) {
      yield tarHeader(name(i), bytes.length);
      yield bytes;
      yield Buffer.alloc(padded(bytes.length) - bytes.length);
    }
    yield END;
  };
  const whole = join(folder, 'whole');
  await pipeline(Readable.from(members()), createGzip({ level: 1 }), createWriteStream(whole));
  const { size } = statSync(whole);
  const from = await open(whole, 'r');
  const each = Math.ceil(size / PARTS);
  for (let part = 0; part < PARTS; part++) {
    const bytes = Buffer.alloc(Math.min(each, size - part * each));
    await from.read(bytes, 0, bytes.length, part * each);
    writeFileSync(join(folder, `images.tar.gz.${String(part).padStart(2, '0')}`), bytes);
  }
  await from.close();
  rmSync(whole);
  return { list: statSync(join(folder, 'train.json')).size, archive: size };
}

const prepareArgs = (set: string, from: string, out: string) => [
  drm,
  ...['data', 'prepare', set, '--from', from, '--split', 'train', '--out', out, '--shard-size', '32', '--quiet'],
];

/** Kills a preparation once half of the shards are there, and finishes it by the same command. */
async function killedAndResumed(args: string[], out: string, shards: number): Promise<boolean> {
  const isKilled = await new Promise<boolean>((done) => {
    const child = spawn(process.execPath, args, { stdio: 'ignore' });
    const timer = setInterval(() => {
      const there = existsSync(out) ? readdirSync(out).filter((name) => /^[^.].*\.tar$/.test(name)).length : 0;
      if (there >= Math.max(1, Math.floor(shards / 2))) child.kill('SIGKILL');
    }, 5);
    child.on('close', (_, signal) => {
      clearInterval(timer);
      done(signal === 'SIGKILL');
    });
  });
  await timed(process.execPath, args);
  return isKilled;
}

async function measure(set: string, from: string, out: string, loop: { rate: number }, facts: Record<string, number>) {
  const run = await timed(process.execPath, prepareArgs(set, from, out));
  const text = readFileSync(join(out, 'manifest.json'), 'utf8');
  const manifest = JSON.parse(text) as {
    records: number;
    kept: number;
    images: { train: number };
    shards: unknown[];
  };
  rmSync(out, { recursive: true });
  const isKilled = await killedAndResumed(prepareArgs(set, from, out), out, manifest.shards.length);
  const again = readFileSync(join(out, 'manifest.json'), 'utf8');
  rmSync(out, { recursive: true });
  const rate = manifest.images.train / run.cpuSeconds;
  console.log(
    JSON.stringify({
      bench: 'data',
      set,
      ...facts,
      records: manifest.records,
      kept: manifest.kept,
      images: manifest.images.train,
      seconds: rounded(run.seconds),
      cpu_seconds: rounded(run.cpuSeconds),
      peak_mb: Math.round(run.peakMb),
      images_per_core_second: rounded(rate, 3),
      sharp_loop_per_core_second: rounded(loop.rate, 3),
      share_of_sharp_loop: rounded(rate / loop.rate, 3),
      killed_half_way: isKilled,
      same_manifest: again === text,
      ...machine(),
    }),
  );
  if (!isKilled || again !== text) process.exitCode = 1;
}

export async function data(): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), 'drm-bench-data-'));
  process.once('exit', () => rmSync(work, { recursive: true, force: true }));
  console.error(`making images, a Parquet shard, a list and an archive in ${work}`);
  const count = 3040;
  const images: Buffer[] = [];
  mkdirSync(join(work, 'plain'));
  for (let i = 0; i < count; i++) {
    // Every name is decoded by itself, whatever its bytes; drawing as many images would take longer than preparing them.
    const bytes = i < DRAWN ? await image(i) : (images[i % DRAWN] as Buffer);
    images.push(bytes);
    writeFileSync(join(work, 'plain', `${i}.jpg`), bytes);
  }
  const pickapic = await makePickapic(join(work, 'pickapic'), images);
  const hpdv3 = await makeHpdv3(join(work, 'hpdv3'), images, 316_000);
  images.length = 0;
  const loopScript = join(dirname(fileURLToPath(import.meta.url)), 'decode_loop.js');
  const loop = await timed(process.execPath, [loopScript, join(work, 'plain')]);
  const rate = { rate: count / loop.cpuSeconds };
  const megabytes = (bytes: number) => Math.round(bytes / 1e6);
  await measure('pickapic', join(work, 'pickapic'), join(work, 'out'), rate, { shard_mb: megabytes(pickapic.bytes) });
  await measure('hpdv3', join(work, 'hpdv3'), join(work, 'out'), rate, {
    list_mb: megabytes(hpdv3.list),
    archive_mb: megabytes(hpdv3.archive),
    archive_parts: PARTS,
  });
}
