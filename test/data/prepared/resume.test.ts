// Interrupted preparations: killed at any moment, stopped by Ctrl-C, out of disk. What is there at the end is the same.
import { spawn, spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { readManifest } from '../../../cli/data/prepared/manifest.js';
import { prepare } from '../../../cli/data/prepared/prepare.js';
import type { Sample, Source } from '../../../cli/data/prepared/source.js';
import { drm, runDrm, temporaryFolder } from '../../run_drm.js';
import { contentOf, write, writeImages } from '../images.js';

const COUNT = 240;
let from: string;
let whole: Record<string, string>;

const flags = (out: string) => [
  'data',
  'prepare',
  'jsonl',
  '--from',
  from,
  '--out',
  out,
  '--size',
  '24',
  '--shard-samples',
  '20',
  '--hold-out',
  '20',
];
const newFolder = () => join(temporaryFolder(), 'set');

beforeAll(async () => {
  from = await writeImages(temporaryFolder(), COUNT);
  // Some drops among them, so that their counts have to survive, too.
  const lines = readFileSync(join(from, 'captions.jsonl'), 'utf8').trim().split('\n');
  for (let i = 5; i < COUNT; i += 40) lines[i] = `{"image": "gone-${i}.png", "caption": "gone ${i}"}`;
  for (let i = 7; i < COUNT; i += 40) lines[i] = '{"image": "images/1.png"}';
  lines.push('{"image": "the last is a drop.png", "caption": "image 0"}');
  write(from, { 'captions.jsonl': lines.join('\n') });
  const out = newFolder();
  expect((await runDrm(flags(out))).code).toBe(0);
  whole = contentOf(out);
  expect(readManifest(out).dropped).toEqual({ missing_image: 7, no_caption: 6 });
  expect(Object.keys(whole).filter((name) => name.endsWith('.tar')).length).toBeGreaterThan(10);
});

/** Starts the preparation and kills it `delay` ms after `shards` shards are there; true when it had ended before. */
function killed(out: string, shards: number, delay: number): Promise<boolean> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [drm, ...flags(out)], { stdio: 'ignore' });
    let ended = false;
    const poll = setInterval(() => {
      const there = existsSync(out) ? readdirSync(out).filter((name) => name.endsWith('.tar')).length : 0;
      if (there < shards) return;
      clearInterval(poll);
      setTimeout(() => child.kill('SIGKILL'), delay);
    }, 2);
    child.on('close', (code) => {
      clearInterval(poll);
      ended = code === 0;
      done(ended);
    });
  });
}

/** A folder whose preparation was killed after so many shards; on a busy machine a kill may come too late. */
async function unfinishedSet(shards: number): Promise<string> {
  for (;;) {
    const out = newFolder();
    if (!(await killed(out, shards, 0))) return out;
  }
}

test('killed at random points, then resumed: byte for byte the uninterrupted result', async () => {
  const random = (() => {
    let state = 20260;
    return () => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return state / 2 ** 32;
    };
  })();
  let kills = 0;
  let resumed = 0;
  for (let round = 0; round < 3; round++) {
    const out = newFolder();
    for (let shards = round === 0 ? 0 : 1; shards < 12; shards += 1 + Math.floor(3 * random())) {
      if (await killed(out, shards, Math.floor(25 * random()))) break;
      kills += 1;
    }
    const { code, stderr } = await runDrm(flags(out));
    expect(code).toBe(0);
    if (stderr.includes('prepared by an earlier run')) resumed += 1;
    expect(contentOf(out)).toEqual(whole);
  }
  expect(kills).toBeGreaterThan(4);
  expect(resumed).toBeGreaterThan(0);
}, 240_000);

test('killed after the manifest was written: what it left beside it goes when the same is asked for again', async () => {
  const out = newFolder();
  await runDrm(flags(out));
  for (const left of ['.progress.jsonl', '.manifest.json.0123abcd']) appendFileSync(join(out, left), '{}\n');
  mkdirSync(join(out, '.pictures'));
  const again = await runDrm(flags(out));
  expect(again).toMatchObject({ code: 0 });
  expect(again.stderr).toContain('is complete already');
  expect(contentOf(out)).toEqual(whole);
  expect(existsSync(join(out, '.pictures'))).toBe(false);
});

test('stopped between the last shards of two splits, then resumed: the same content', async () => {
  // The first split is complete then, the last record of all included; the second begins anew.
  const sample = (i: number): Sample => ({ key: `${i}`, files: [], json: { caption: `image ${i}` } });
  const source = (before: () => void): Source => ({
    kind: 'captions',
    notes: [{ name: 'mine' }],
    settings: {},
    extras: [],
    *records() {
      before();
      for (const [i, split] of ['test', 'train', 'train', 'test'].entries())
        yield { split, note: 0, make: async () => sample(i) };
    },
  });
  const prepared = (out: string, before = () => {}) =>
    prepare(source(before), out, {
      limits: { bytes: 1e9, samples: 1e9 },
      signal: new AbortController().signal,
      onProgress: () => {},
      onDrop: () => {},
    });
  const out = newFolder();
  const once = newFolder();
  await prepared(once);
  const inTheWay = join(out, 'train-00000.tar');
  await expect(prepared(out, () => void mkdirSync(inTheWay))).rejects.toMatchObject({ code: 'DISK' });
  rmSync(inTheWay, { recursive: true });
  expect(existsSync(join(out, 'test-00000.tar'))).toBe(true);
  await prepared(out);
  expect(contentOf(out)).toEqual(contentOf(once));
});

test('Ctrl-C: exit 130, and the printed command goes on', async () => {
  let out = '';
  let code: number | null = 0;
  let stderr = '';
  while (code === 0) {
    out = newFolder();
    const act = (kill: (signal: NodeJS.Signals) => void) => void waitFor(out, 2).then(() => kill('SIGINT'));
    ({ code, stderr } = await runDrm(flags(out), { onOutput: { when: 'data prepare:', act } }));
  }
  expect(code).toBe(130);
  expect(existsSync(join(out, 'manifest.json'))).toBe(false);
  expect(readdirSync(out).filter((name) => name.endsWith('.partial') || name === 'run.lock')).toEqual([]);
  const command = /to go on: drm (.*)/.exec(stderr)?.[1];
  const { status, stderr: again } = spawnSync('sh', ['-c', `"${process.execPath}" "${drm}" ${command}`], {
    encoding: 'utf8',
  });
  expect(again).toMatch(/\d+ records were prepared by an earlier run/);
  expect(status).toBe(0);
  expect(contentOf(out)).toEqual(whole);
});

async function waitFor(out: string, shards: number): Promise<void> {
  while (!existsSync(out) || readdirSync(out).filter((name) => /^[^.].*\.tar$/.test(name)).length < shards)
    await new Promise((done) => setTimeout(done, 2));
}

test('a finished set is left alone; other settings or another input are refused, not mixed in', async () => {
  const out = newFolder();
  await runDrm(flags(out));
  const again = await runDrm(flags(out));
  expect(again.stderr).toContain('is complete already');
  expect(again.code).toBe(0);
  const other = await runDrm([...flags(out), '--size', '16']);
  expect(other.stderr).toContain('holds a set prepared with other settings');
  expect(other.code).toBe(3);
  expect(contentOf(out)).toEqual(whole);

  const unfinished = await unfinishedSet(3);
  const mixed = await runDrm([...flags(unfinished), '--size', '16']);
  expect(mixed.stderr).toContain('expected the unfinished preparation of these settings');
  expect(mixed.code).toBe(3);
});

test('a torn journal and a lost shard cost only what follows them', async () => {
  const out = await unfinishedSet(5);
  const journal = join(out, '.progress.jsonl');
  appendFileSync(journal, '{"shard": {"name": "train-0');
  const { code, stderr } = await runDrm(flags(out));
  expect(stderr).toContain('prepared by an earlier run');
  expect(code).toBe(0);
  expect(contentOf(out)).toEqual(whole);

  const cut = await unfinishedSet(5);
  const shards = readdirSync(cut).filter((name) => /^train-.*\.tar$/.test(name));
  truncateSync(join(cut, shards[1] as string), 1000);
  expect((await runDrm(flags(cut))).code).toBe(0);
  expect(contentOf(cut)).toEqual(whole);
});

test('two at once: the second is told of the first', async () => {
  const out = newFolder();
  const first = runDrm(flags(out));
  await waitFor(out, 1);
  const second = await runDrm(flags(out));
  expect(second.stderr).toMatch(/expected to be alone in it, found process \d+|is complete already/);
  expect((await first).code).toBe(0);
  expect(contentOf(out)).toEqual(whole);
});

test('a full disk in the middle of a shard: named, exit 4, nothing lost', async () => {
  const out = newFolder();
  // A limit on file size stands for the full disk: shards of all samples do not fit, the small ones did.
  const limited = (args: string[], blocks: number) =>
    spawnSync(
      'bash',
      ['-c', `trap '' XFSZ; ulimit -f ${blocks}; exec "$@"`, 'limited', process.execPath, drm, ...args],
      {
        encoding: 'utf8',
      },
    );
  const size = Math.max(...readManifestShards());
  const { status, stderr } = limited(flags(out), Math.floor(size / 1024) - 1);
  expect(stderr).toMatch(/cannot be written: EFBIG/);
  expect(stderr).toContain('finished shards are kept, and the same command goes on after them');
  expect(status).toBe(4);
  expect(readdirSync(out).filter((name) => name.endsWith('.partial'))).toEqual([]);
  expect((await runDrm(flags(out))).code).toBe(0);
  expect(contentOf(out)).toEqual(whole);
});

function readManifestShards(): number[] {
  const out = newFolder();
  spawnSync(process.execPath, [drm, ...flags(out)]);
  return readManifest(out).shards.map((shard) => shard.bytes);
}

test('a set that lost a shard says so when prepared again', async () => {
  const out = newFolder();
  await runDrm(flags(out));
  rmSync(join(out, 'train-00002.tar'));
  const { code, stderr } = await runDrm(flags(out));
  expect(stderr).toMatch(/train-00002.tar: expected \d+ bytes, as manifest.json says, found no file/);
  expect(code).toBe(3);
});
