// One process in a run folder, whatever was left there.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { RunLock } from '../../cli/runs/lock.js';
import { temporaryFolder } from '../run_drm.js';

async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'close');
  return child.pid ?? 0;
}

const place = (folder: string, holder: object) => writeFileSync(join(folder, 'run.lock'), JSON.stringify(holder));

test('held by one, refused to another, free again', async () => {
  const folder = temporaryFolder();
  const lock = await RunLock.take(folder);
  expect(await lock.holds()).toBe(true);
  await expect(RunLock.take(folder)).rejects.toMatchObject({
    code: 'BAD_REQUEST',
    message: expect.stringContaining(`found process ${process.pid} at work there`),
  });
  await lock.release();
  expect(readdirSync(folder)).toEqual([]);
  await (await RunLock.take(folder)).release();
});

test('what a dead process left is taken over: killed, its pid given to another', async () => {
  const folder = temporaryFolder();
  for (const left of [
    { pid: await deadPid(), host: hostname(), began: '', token: '' },
    { pid: process.pid, host: hostname(), began: '1', token: '' },
  ]) {
    place(folder, left);
    const lock = await RunLock.take(folder);
    expect(JSON.parse(readFileSync(join(folder, 'run.lock'), 'utf8'))).toMatchObject({ pid: process.pid });
    await lock.release();
  }
});

test('killed while it took the lock, or evicted another: nothing of it stays, and nothing blocks', async () => {
  const folder = temporaryFolder();
  const pid = await deadPid();
  const dead = JSON.stringify({ pid, host: hostname(), began: '', token: '' });
  place(folder, { pid, host: hostname(), began: '', token: '' });
  writeFileSync(join(folder, '.run.lock.evicting'), dead);
  writeFileSync(join(folder, `.run.lock.${pid}-0123456789abcdef`), '');
  writeFileSync(join(folder, `.run.lock.${pid}-fedcba9876543210`), dead);
  const others = `.run.lock.${process.pid}-0123456789abcdef`; // of a living one
  writeFileSync(join(folder, others), '');
  const lock = await RunLock.take(folder);
  expect(readdirSync(folder).sort()).toEqual([others, 'run.lock']);
  await lock.release();
});

test('a holder on another machine counts as dead after a long silence only', async () => {
  const folder = temporaryFolder();
  place(folder, { pid: 1, host: 'another', began: '', token: '' });
  await expect(RunLock.take(folder)).rejects.toThrow('found process 1 on another at work there');
  const long = new Date(Date.now() - 600_000);
  utimesSync(join(folder, 'run.lock'), long, long);
  await (await RunLock.take(folder)).release();
});

test('of many that find a stale lock, exactly one gets it', async () => {
  const stale = { pid: await deadPid(), host: hostname(), began: '', token: '' };
  for (let round = 0; round < 10; round++) {
    const folder = temporaryFolder();
    place(folder, stale);
    const all = await Promise.allSettled(Array.from({ length: 20 }, () => RunLock.take(folder)));
    const won = all.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    expect(won.length).toBe(1);
    expect(await won[0]?.holds()).toBe(true);
    await won[0]?.release();
    expect(readdirSync(folder)).toEqual([]);
  }
});

test('a lock that was taken away is neither held nor released', async () => {
  const folder = temporaryFolder();
  const lock = await RunLock.take(folder);
  place(folder, { pid: 1, host: 'another', began: '', token: '' });
  expect(await lock.holds()).toBe(false);
  await lock.release();
  expect(existsSync(join(folder, 'run.lock'))).toBe(true);
});

const long = new Date(Date.now() - 600_000);
const hereNow = async (): Promise<Record<string, unknown>> => {
  const folder = temporaryFolder();
  const lock = await RunLock.take(folder);
  const holder = JSON.parse(readFileSync(join(folder, 'run.lock'), 'utf8')) as Record<string, unknown>;
  await lock.release();
  return holder;
};

test('what names no holder is taken over, once it is no lock that is just being written', async () => {
  for (const left of ['', '123', '{"pid": 12', '{"pid": -1, "host": "x"}', 'null', '\u0000\u0000']) {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'run.lock'), left);
    utimesSync(join(folder, 'run.lock'), long, long);
    await (await RunLock.take(folder)).release();
  }
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'run.lock'), '');
  let taken = false;
  const taking = RunLock.take(folder).then((lock) => {
    taken = true;
    return lock;
  });
  await setTimeout(300);
  expect(taken).toBe(false);
  await (await taking).release();
});

test('a pid of another PID namespace says nothing: its lock counts by its last sign, on the same host too', async () => {
  const folder = temporaryFolder();
  const other = { ...(await hereNow()), place: 'boot pid:[4026532999]', token: 'x', pid: await deadPid() };
  place(folder, other);
  await expect(RunLock.take(folder)).rejects.toThrow(
    /at work there \(since 2.*last sign \d+ s ago, counts as gone after 5/,
  );
  utimesSync(join(folder, 'run.lock'), long, long);
  await (await RunLock.take(folder)).release();
});

test('a dead process that nobody has collected holds nothing', async () => {
  // A shell that is replaced by sleep leaves its child uncollected.
  const parent = spawn('sh', ['-c', 'true & echo $!; exec sleep 30'], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(line.toString());
    const state = () => readFileSync(`/proc/${pid}/stat`, 'utf8');
    while (!state().includes(') Z ')) await setTimeout(10);
    const folder = temporaryFolder();
    const began = state()
      .slice(state().lastIndexOf(')') + 2)
      .split(' ')[19];
    place(folder, { ...(await hereNow()), pid, began, token: 'x' });
    await (await RunLock.take(folder)).release();
  } finally {
    parent.kill('SIGKILL');
  }
});

test('a folder that cannot hold a lock is a matter of the disk', async () => {
  const folder = temporaryFolder();
  await expect(RunLock.take(join(folder, 'absent'))).rejects.toMatchObject({ code: 'DISK' });
  mkdirSync(join(folder, 'run.lock'));
  await expect(RunLock.take(folder)).rejects.toMatchObject({ code: 'DISK' });
});
