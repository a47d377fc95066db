// A cache that other processes, machines and Python use too: locks that were left, snapshots of plain files.
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FileLock } from '../../cli/common/lock.js';
import { temporaryFolder } from '../run_drm.js';
import { pullHere } from './pull_here.js';
import { COMMIT, TestHub } from './server.js';

const FILE = 'transformer/w.safetensors';
const COPY = 'vae/w.safetensors';
const weights = randomBytes(50_000);
const sha256 = createHash('sha256').update(weights).digest('hex');
let hub: TestHub;
let home: string;

beforeEach(async () => {
  home = temporaryFolder();
  hub = await TestHub.start({ [FILE]: { content: weights, lfs: true }, 'config.json': { content: Buffer.from('{}') } });
});
afterEach(() => hub.stop());

const pull = (env: Record<string, string> = {}, signal?: AbortSignal) =>
  pullHere({ HF_ENDPOINT: hub.url, HF_HOME: home, ...env }, {}, signal);
const repository = () => join(home, 'hub/models--org--model');
const snapshot = (name: string) => join(repository(), 'snapshots', COMMIT, name);
const lockFile = () => join(home, 'hub/.locks/models--org--model', `${sha256}.drm.lock`);
const fetched = () =>
  hub.requests.filter(({ path }) => path.includes('/resolve/')).map(({ path }) => path.split(COMMIT)[1]);

async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'close');
  return child.pid ?? 0;
}

const leave = (text: string, ageMs = 0) => {
  mkdirSync(dirname(lockFile()), { recursive: true });
  writeFileSync(lockFile(), text);
  const then = new Date(Date.now() - ageMs);
  utimesSync(lockFile(), then, then);
};
const holder = (more: object) =>
  JSON.stringify({ pid: 1, host: hostname(), place: '', began: '', since: '', token: 't', ...more });

test('a stale lock is taken over: empty, cut, a bare pid, a dead or reused one, a container that is gone', async () => {
  const hour = 3_600_000;
  const stale: [string, number][] = [
    ['', hour],
    ['{"pid": 1', hour],
    [String(process.pid), hour],
    [holder({ pid: await deadPid() }), 0],
    [holder({ pid: process.pid, began: '1' }), 0],
    [holder({ place: 'boot pid:[1]' }), hour],
    [holder({ host: 'elsewhere' }), hour],
  ];
  for (const [text, age] of stale) {
    rmSync(repository(), { recursive: true, force: true });
    leave(text, age);
    expect(await pull()).toMatchObject({ code: 0, warnings: [] });
    expect(readFileSync(snapshot(FILE)).equals(weights)).toBe(true);
    expect(existsSync(lockFile())).toBe(false);
  }
});

test('who is waited for is said, since when and where; Ctrl-C ends the wait', async () => {
  leave(holder({ host: 'elsewhere', pid: 12, since: '2026-01-02T03:04:05.000Z' }));
  const stop = new AbortController();
  const pulling = pull({}, stop.signal);
  while (fetched().length === 0) await setTimeout(10);
  await setTimeout(300);
  stop.abort();
  const { code, warnings } = await pulling;
  expect(code).toBe(130);
  expect(warnings.length).toBe(1);
  expect(warnings[0]).toContain(
    'waiting for process 12 on elsewhere, which is fetching it (since 2026-01-02T03:04:05.000Z',
  );
  expect(warnings[0]).toContain(lockFile());
});

test('what the other process fetched is used', async () => {
  mkdirSync(dirname(lockFile()), { recursive: true });
  const lock = await FileLock.take(lockFile());
  if (!(lock instanceof FileLock)) throw new Error('it is new');
  const pulling = pull();
  while (fetched().length === 0) await setTimeout(10);
  mkdirSync(join(repository(), 'blobs'), { recursive: true });
  writeFileSync(join(repository(), 'blobs', sha256), weights);
  await lock.release();
  expect(await pulling).toMatchObject({ code: 0, result: { fetched: 1, present: 1 } });
  expect(fetched()).toEqual(['/config.json']);
});

test('a lock that is removed under its holder: nothing is put in place over the other', async () => {
  hub.behaviour = {
    intercept: (_request, _response, path) => {
      if (path.endsWith(FILE)) rmSync(lockFile());
      return false;
    },
  };
  const { code, error } = await pull();
  expect(code).toBe(4);
  expect(error).toContain('expected to hold it');
  expect(existsSync(join(repository(), 'blobs', sha256))).toBe(false);
});

test('without symbolic links the snapshot holds files, one content under each of its names, fetched once', async () => {
  hub.files[COPY] = { content: weights, lfs: true };
  const env = { HF_HUB_DISABLE_SYMLINKS: '1' };
  expect(await pull(env)).toMatchObject({ code: 0, result: { fetched: 2, present: 1 } });
  for (const name of [FILE, COPY]) {
    expect(lstatSync(snapshot(name)).isFile()).toBe(true);
    expect(readFileSync(snapshot(name)).equals(weights)).toBe(true);
  }
  expect(readdirSync(join(repository(), 'blobs'))).toEqual([]); // moved, as Python does: the disk holds it as often as needed
  hub.requests = [];
  for (const again of [env, {}]) expect((await pull(again)).result).toMatchObject({ fetched: 0, present: 3 });
  expect(fetched()).toEqual([]);
  rmSync(snapshot(COPY)); // another name in the snapshot gives it
  expect((await pull(env)).code).toBe(0);
  expect(fetched()).toEqual([]);
  expect(readFileSync(snapshot(COPY)).equals(weights)).toBe(true);
});

test('what is damaged or dangling is fetched again', async () => {
  expect((await pull()).code).toBe(0);
  rmSync(join(repository(), 'blobs', sha256)); // the link dangles
  expect((await pull()).result).toMatchObject({ fetched: 1 });
  writeFileSync(join(repository(), 'blobs', sha256), 'cut');
  expect((await pull()).result).toMatchObject({ fetched: 1 });
  rmSync(snapshot(FILE));
  writeFileSync(snapshot(FILE), 'cut'); // a copy, beside a whole blob
  hub.requests = [];
  expect((await pull()).result).toMatchObject({ fetched: 0 });
  expect(readFileSync(snapshot(FILE)).equals(weights)).toBe(true);
  expect(fetched()).toEqual([]);
});

test('a cache that is complete is only read', async () => {
  expect((await pull()).code).toBe(0);
  rmSync(join(home, 'hub/.locks'), { recursive: true });
  const before = statSync(join(repository(), 'refs')).mtimeMs;
  expect((await pull()).code).toBe(0);
  expect(existsSync(join(home, 'hub/.locks'))).toBe(false);
  expect(statSync(join(repository(), 'refs')).mtimeMs).toBe(before);
});

test('what Python is fetching at the same time is left alone', async () => {
  const python = join(repository(), 'blobs', `${sha256}.incomplete`);
  mkdirSync(dirname(python), { recursive: true });
  writeFileSync(python, weights.subarray(0, 10));
  expect((await pull()).code).toBe(0);
  expect(readFileSync(python).length).toBe(10);
});

test('a blob that is itself a link, to a store of several caches, is followed', async () => {
  const store = join(home, 'store');
  writeFileSync(store, weights);
  mkdirSync(join(repository(), 'blobs'), { recursive: true });
  symlinkSync(store, join(repository(), 'blobs', sha256));
  expect((await pull()).result).toMatchObject({ fetched: 1, present: 1 });
  expect(readFileSync(snapshot(FILE)).equals(weights)).toBe(true);
});
