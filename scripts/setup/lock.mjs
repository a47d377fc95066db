// One set-up at a time per folder: a lock file with the owner's process, taken over when that process is gone.
import { linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Process ids repeat (in a container always); together with the start time they do not. Empty off Linux. */
function startTime(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

function identity(pid) {
  return `${pid} ${startTime(pid)}`.trim();
}

function isAlive(owner) {
  const pid = Number.parseInt(owner, 10);
  if (!(pid > 0)) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error.code === 'ESRCH') return false; // EPERM: alive, another user's
  }
  return identity(pid) === owner;
}

function readOwner(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** Creates `path` with its content in one step, so that nobody reads it half-written. False when it exists. */
function create(path, content) {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, content);
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Only one process may remove a dead owner's lock: two doing so could remove a new owner's. */
function removeStale(path) {
  const guard = `${path}.takeover`;
  try {
    if (Date.now() - statSync(guard).mtimeMs > 10_000) rmSync(guard, { force: true }); // its owner died in between
  } catch {}
  if (!create(guard, identity(process.pid))) return;
  try {
    const owner = readOwner(path);
    if (owner !== undefined && !isAlive(owner)) rmSync(path, { force: true });
  } finally {
    rmSync(guard, { force: true });
  }
}

/** Waits for the lock, runs `work`, gives it back. `onWait(pid)` is called once when another process has it. */
export async function withLock(path, onWait, work) {
  mkdirSync(dirname(path), { recursive: true });
  const mine = identity(process.pid);
  let told = false;
  while (!create(path, mine)) {
    const owner = readOwner(path);
    if (owner !== undefined && !isAlive(owner)) {
      removeStale(path);
      continue;
    }
    if (owner !== undefined && !told) {
      onWait(Number.parseInt(owner, 10));
      told = true;
    }
    await sleep(200);
  }
  const release = () => {
    if (readOwner(path) === mine) rmSync(path, { force: true });
  };
  process.once('exit', release);
  try {
    return await work();
  } finally {
    process.removeListener('exit', release);
    release();
  }
}
