// One content from the hub into the cache: resumable, checked, put in place whole under all its names.
import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { copyFile, open, rename, rm, stat, symlink } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { DrmError } from '../../binding/error.js';
import { diskError, makeFolder } from '../common/files.js';
import { FileLock, nameOf, signsOf } from '../common/lock.js';
import { isOn } from './cache.js';
import { type Answer, type Hub, pauseBefore } from './client.js';
import type { RemoteFile } from './listing.js';

/** What a repository holds under one or more names. */
export interface Content extends Omit<RemoteFile, 'path'> {
  paths: [string, ...string[]];
}

export interface Repository {
  hub: Hub;
  commit: string;
  /** models--org--name in the cache. */
  folder: string;
}

/** Connections may break as often as they like as long as each so many bring this much. */
const BROKEN_CONNECTIONS = 5;
const LEAST_PROGRESS = 1 << 20;
const LOCK_POLL_MS = 200;

/** What a failure of the file system means here; anything else stays what it is. */
export function cacheError(path: string, error: unknown): unknown {
  if (error instanceof DrmError || (error as NodeJS.ErrnoException).syscall === undefined) return error;
  return diskError(path, error, ', or set HF_HOME to another folder; the same command goes on where it stopped');
}

/** The files by content. */
export function byContent(files: RemoteFile[]): Content[] {
  const contents = new Map<string, Content>();
  for (const { path, hash, size, lfs } of files) {
    const known = contents.get(hash);
    if (known) known.paths.push(path);
    else contents.set(hash, { hash, size, lfs, paths: [path] });
  }
  return [...contents.values()];
}

const blobOf = (repository: Repository, { hash }: Content) => join(repository.folder, 'blobs', hash);
/** A name of our own: Python's huggingface_hub may be writing to `<hash>.incomplete` at the same time. */
const incompleteOf = (repository: Repository, content: Content) => `${blobOf(repository, content)}.drm.incomplete`;
const pointersOf = ({ folder, commit }: Repository, { paths }: Content) =>
  paths.map((path) => join(folder, 'snapshots', commit, path));

const sizeOf = (path: string): Promise<number | undefined> =>
  stat(path).then(
    (found) => (found.isFile() ? found.size : undefined),
    () => undefined,
  );

/** Whether every name leads to a file of the content's size: through links, or as a copy. */
export async function isThere(repository: Repository, content: Content): Promise<boolean> {
  for (const pointer of pointersOf(repository, content)) if ((await sizeOf(pointer)) !== content.size) return false;
  return true;
}

/** Bytes still to come. */
export async function bytesAbsent(repository: Repository, content: Content): Promise<number> {
  if ((await isThere(repository, content)) || (await sizeOf(blobOf(repository, content))) === content.size) return 0;
  return Math.max(0, content.size - ((await sizeOf(incompleteOf(repository, content))) ?? 0));
}

async function hashOf(path: string, { lfs, size }: Content): Promise<string> {
  const hash = createHash(lfs ? 'sha256' : 'sha1');
  if (!lfs) hash.update(`blob ${size}\0`); // as git does
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Waits for whoever is fetching the same content, and says so. */
async function withLock<T>(path: string, what: string, hub: Hub, work: (lock: FileLock) => Promise<T>): Promise<T> {
  await makeFolder(dirname(path));
  for (let told = ''; ; ) {
    const got = await FileLock.take(path);
    if (got instanceof FileLock) {
      try {
        return await work(got);
      } finally {
        await got.release();
      }
    }
    if (told !== got.token) {
      const signs = signsOf(got);
      hub.tell(
        `${what}: waiting for ${nameOf(got)}, which is fetching it${signs && ` (${signs})`}; its lock is ${path}`,
      );
      told = got.token;
    }
    await setTimeout(LOCK_POLL_MS, undefined, { signal: hub.signal }).catch(() => {});
    hub.signal.throwIfAborted();
  }
}

/** Where the bytes of an answer to a request from `have` on begin; undefined when they are of no use. */
function startOf({ status, headers }: Answer, have: number, size: number): number | undefined {
  if (status === 200) return 0;
  if (status !== 206 || headers.has('content-encoding')) return undefined; // of an encoded file, whose bytes are others
  const range = headers.get('content-range');
  const length = headers.get('content-length');
  if (range === null) return length === null || Number(length) === size - have ? have : undefined;
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(range) ?? [];
  return Number(start) === have && (total === '*' || Number(total) === size) ? have : undefined;
}

/** Appends an answer's bytes. Returns how many the file has then; a broken connection ends it early. */
async function append(answer: Answer, path: string, start: number, most: number, onBytes: (have: number) => void) {
  const out = await open(path, start === 0 ? 'w' : 'a');
  const bytes = answer.bytes();
  let have = start;
  try {
    for (;;) {
      // Only what the network does may be tried again: a full disk stays full.
      const next = await bytes.next().catch(() => ({ done: true, value: undefined }));
      if (next.done || next.value === undefined) break;
      await out.writeFile(next.value);
      have += next.value.length;
      onBytes(have);
      if (have > most) break;
    }
    await out.sync();
  } finally {
    await bytes.return(undefined);
    await out.close();
  }
  return have;
}

/** Appends to `path` until it has the content's size; connections may break without any progress being lost. */
async function receive(repository: Repository, content: Content, path: string, onBytes: (have: number) => void) {
  const { hub, commit } = repository;
  const { size, paths } = content;
  const [name] = paths;
  let farthest = 0;
  let fruitless = 0;
  for (let afresh = false; ; ) {
    let have = (await sizeOf(path)) ?? -1;
    if (have === size) return;
    if (afresh || have > size) have = 0; // of another file, or of a server that cannot go on in the middle
    have = Math.max(have, 0);
    onBytes(have);
    const url = hub.fileUrl(commit, name);
    const answer = await hub.get(url, name, have > 0 ? { range: `bytes=${have}-` } : {});
    const start = startOf(answer, have, size);
    afresh = start === undefined;
    if (start === undefined) answer.close();
    else have = await append(answer, path, start, size, onBytes);
    hub.signal.throwIfAborted();
    if (have > size) {
      await rm(path);
      throw new DrmError('NETWORK', `[pull] ${name}: expected ${size} bytes, the server sends more; try again later`, {
        file: name,
      });
    }
    if (have === size) continue;
    if (have >= farthest + LEAST_PROGRESS) {
      farthest = have;
      fruitless = 0;
    } else fruitless += 1;
    if (fruitless >= BROKEN_CONNECTIONS)
      throw new DrmError(
        'NETWORK',
        `[pull] ${name}: the connection broke ${fruitless} times at ${have} of ${size} bytes; the same command goes on from there`,
        { file: name },
      );
    await pauseBefore(fruitless + 1, hub.signal);
  }
}

async function fetchBlob(
  repository: Repository,
  content: Content,
  lock: FileLock,
  onBytes: (have: number) => void,
): Promise<void> {
  const { hash, lfs, paths } = content;
  const blob = blobOf(repository, content);
  const incomplete = incompleteOf(repository, content);
  await makeFolder(dirname(blob));
  await receive(repository, content, incomplete, onBytes);
  const found = await hashOf(incomplete, content);
  if (!(await lock.holds()))
    throw new DrmError(
      'DISK',
      `[pull] ${lock.file}: expected to hold it, found it removed or another process's; is the cache being cleared? run the same command again`,
      { file: lock.file },
    );
  if (found !== hash) {
    await rm(incomplete); // nothing in it can be trusted
    throw new DrmError(
      'NETWORK',
      `[pull] ${paths[0]}: expected ${lfs ? 'sha256' : 'git hash'} ${hash}, found ${found}; the download was damaged and is removed, run the same command again`,
      { file: paths[0], expected: hash, found },
    );
  }
  await rename(incomplete, blob);
}

interface Placing {
  /** May be moved: nothing else needs it where it is. */
  isLast?: boolean;
  linked: boolean;
  /** For a copy in the making. */
  aside: string;
}

/** Gives the content a name in the snapshot: a link or, where there can be none, the file itself, put in place whole. */
async function place(from: string, pointer: string, { isLast, linked, aside }: Placing): Promise<void> {
  await makeFolder(dirname(pointer));
  await rm(pointer, { force: true });
  if (linked) {
    const made = await symlink(relative(dirname(pointer), from), pointer).then(
      () => true,
      () => false, // no links on this file system; if it is something else, the copy tells
    );
    if (made) return;
  }
  if (isLast) return rename(from, pointer);
  await makeFolder(dirname(aside));
  await copyFile(from, aside, constants.COPYFILE_FICLONE);
  await rename(aside, pointer);
}

/** Under the content's lock. */
async function fill(repository: Repository, content: Content, lock: FileLock, onBytes: (have: number) => void) {
  const blob = blobOf(repository, content);
  const aside = `${blob}.drm.copy`;
  const linked = !isOn(process.env.HF_HUB_DISABLE_SYMLINKS);
  const absent: string[] = [];
  let present: string | undefined;
  for (const pointer of pointersOf(repository, content)) {
    if ((await sizeOf(pointer)) === content.size) present = pointer;
    else absent.push(pointer);
  }
  if ((await sizeOf(blob)) === content.size) {
    for (const pointer of absent) await place(blob, pointer, { linked, aside });
    return 'present';
  }
  if (present !== undefined) {
    for (const pointer of absent) await place(present, pointer, { linked: false, aside });
    return 'present';
  }
  await fetchBlob(repository, content, lock, onBytes);
  for (const pointer of absent) await place(blob, pointer, { isLast: pointer === absent.at(-1), linked, aside });
  return 'fetched';
}

/**
 * Puts one content into blobs/ and links its names in the snapshot to it, as huggingface_hub does. What is there already is
 * only linked. Throws DrmError NETWORK (with the part kept for resuming) or DISK.
 */
export async function download(
  repository: Repository,
  content: Content,
  onBytes: (have: number) => void,
): Promise<'fetched' | 'present'> {
  const { hub, folder } = repository;
  const lock = join(dirname(folder), '.locks', basename(folder), `${content.hash}.drm.lock`);
  try {
    const result = (await isThere(repository, content))
      ? 'present'
      : await withLock(lock, content.paths[0], hub, (held) => fill(repository, content, held, onBytes));
    onBytes(content.size);
    return result;
  } catch (error) {
    hub.signal.throwIfAborted();
    throw cacheError(folder, error);
  }
}
