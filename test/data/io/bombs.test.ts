// Small files that claim to be large: the memory of a process that prepares them stays bounded, and each is told of.
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeAll, expect, test } from 'vitest';
import { Drop } from '../../../cli/data/io/drop.js';
import { checkDelta, checkRuns, checkThrift } from '../../../cli/data/io/parquet/bounds.js';
import { ParquetFile } from '../../../cli/data/io/parquet/file.js';
import { tarHeader } from '../../../cli/data/io/tar.js';
import { ZipFolder } from '../../../cli/data/io/zip.js';
import { drm, repository, temporaryFolder } from '../../run_drm.js';
import { pngOf, tarOf, write, zipOf } from '../images.js';

const LARGE = 100 << 20;
const MEMBERS = 8;
/** Of all that a preparation takes; a bare one takes 130 MB, these took 0.9 to 1.2 GB. */
const MOST = 700 << 20;

/** A drm with these arguments: what it says, and the most memory that it took. */
function run(args: string[]): Promise<{ code: number | null; stderr: string; peak: number }> {
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [drm, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    let peak = 0;
    const clock = setInterval(() => {
      try {
        const found = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
        peak = Math.max(peak, Number(found ?? 0) * 1024);
      } catch {
        // it has ended
      }
    }, 10);
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
    });
    child.on('error', failed);
    child.on('close', (code) => {
      clearInterval(clock);
      done({ code, stderr, peak });
    });
  });
}

let zeros: Buffer;
beforeAll(() => {
  zeros = Buffer.alloc(LARGE);
});

/** Members of 100 MB each in a few hundred kB: the packed zeros once, and again. Each with a caption. */
function bomb(names: string[]): Buffer {
  const packed = gzipSync(zeros, { level: 1 });
  return Buffer.concat(
    names.flatMap((name) => [
      gzipSync(tarHeader(name, LARGE)),
      packed,
      gzipSync(tarOf([{ name: name.replace(/jpg$/, 'txt'), bytes: 'a' }], false)),
    ]),
  );
}

test.each([
  ['of one sample', (i: number) => `a.${i}.jpg`, 'too_large'],
  ['of a sample each', (i: number) => `${i}.jpg`, 'undecodable_image'],
])('a tar.gz of many large members %s', async (_, nameOf, reason) => {
  const from = join(temporaryFolder(), 'bomb.tar.gz');
  writeFileSync(from, bomb(Array.from({ length: MEMBERS }, (_, i) => nameOf(i))));
  const { code, stderr, peak } = await run([
    'data',
    'prepare',
    'webdataset',
    '--from',
    from,
    '--out',
    temporaryFolder(),
  ]);
  expect(stderr).toContain(reason);
  expect(code).toBe(3);
  expect(peak).toBeLessThan(MOST);
});

test('zips of large members, in pairs of a list', async () => {
  const members = Array.from({ length: MEMBERS }, (_, i) => ({ name: `${i}.png`, bytes: zeros }));
  const line = (i: number) => JSON.stringify({ prompt: 'a', chosen: `p/${i}.png`, rejected: `p/${i + 1}.png` });
  const from = write(temporaryFolder(), {
    'p.zip': zipOf(members),
    'list.jsonl': Array.from({ length: MEMBERS - 1 }, (_, i) => line(i)).join('\n'),
  });
  const { code, stderr, peak } = await run([
    ...['data', 'prepare', 'jsonl', '--from', join(from, 'list.jsonl'), '--out', temporaryFolder()],
  ]);
  expect(stderr).toContain(`${MEMBERS - 1} undecodable_image`);
  expect(code).toBe(3);
  expect(peak).toBeLessThan(MOST);
});

test('a zip: links give their target’s bytes, and end', async () => {
  const png = await pngOf(1);
  const link = (name: string, target: string) => ({ name, bytes: Buffer.from(target), mode: 0o120777 });
  const folder = write(temporaryFolder(), {
    'a.zip': zipOf([
      link('to.png', 'b.png'),
      link('b.png', './a.png'),
      { name: 'a.png', bytes: png },
      link('self.png', 'self.png'),
      link('out.png', '/etc/passwd'),
    ]),
  });
  const zip = await ZipFolder.open(join(folder, 'a.zip'));
  for (const name of ['a.png', 'b.png', 'to.png']) expect(await zip.read(name)).toEqual(png);
  for (const name of ['self.png', 'out.png'])
    expect(await zip.read(name)).toMatchObject(new Drop('missing_image', `${name}: not in ${zip.path}`));
  zip.close();
});

test('Parquet: counts of a damaged file are checked before they are believed', async () => {
  // Pages of version 2 with a byte changed: decoding it wrote values without end.
  const file = await ParquetFile.open(join(repository, 'test/data/io/parquet/damaged.parquet'));
  await expect(file.read(0, ['image_path', 'prompt_id', 'prompt', 'rank'])).rejects.toMatchObject({ code: 'BAD_FILE' });
  await file.close();
  // Found by fuzzing: a column described by a number.
  await expect(ParquetFile.open(join(repository, 'test/data/io/parquet/damaged-footer.parquet'))).rejects.toMatchObject(
    {
      code: 'BAD_FILE',
    },
  );
  const runs = (bytes: number[], width = 1, count = 10) => checkRuns(Uint8Array.from(bytes), width, count);
  runs([20, 1]); // ten times 1
  runs([5, 255, 3]); // two groups of eight
  expect(() => runs([22, 1])).toThrow(/a run of 11 values where 10 are left/);
  expect(() => runs([0xfe, 0xff, 0xff, 0xff, 0x0f, 1])).toThrow(/a run of 2147483647 values/);
  expect(() => runs([0xff, 0xff, 0xff, 0xff, 0x0f], 0)).toThrow(/a run of/);
  expect(() => runs([20], 33)).toThrow(/values of 33 bits/);
  expect(() => runs([255, 255, 255, 255, 255, 255])).toThrow(/no length/);
  const thrift = (...bytes: number[]) => checkThrift(Uint8Array.from(bytes));
  expect(thrift(0x15, 2, 0)).toBe(3);
  expect(thrift(0x19, 0xfc, 0xff, 0xff, 0xff, 0x7f)).toBeUndefined(); // a list of more structs than there are bytes
  expect(thrift(0x18, 0xff, 0xff, 0xff, 0x7f)).toBeUndefined();
  expect(() => thrift(...Array(100).fill(0x1c))).toThrow(/too deep/);
  expect(() => thrift(0x16, ...Array(20).fill(0xff))).toThrow(/no end/);
  expect(checkDelta(Uint8Array.from([128, 1, 4, 7]))).toBe(7);
  expect(() => checkDelta(Uint8Array.from([128, 1, 0, 7]))).toThrow(/no possible size/);
  expect(() => checkDelta(Uint8Array.from([128, 1, 255, 255, 255, 255, 7, 7]))).toThrow(/no possible size/);
});
