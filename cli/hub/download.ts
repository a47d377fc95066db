// One file from the hub into the cache: resumable, checked, put in place whole.
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { lstat, mkdir, open, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { RepositoryType } from './cache.js';
import { fileUrl, get, type RemoteFile } from './client.js';

export interface Repository {
  id: string;
  type: RepositoryType;
  commit: string;
  /** models--org--name in the cache. */
  folder: string;
}

const BROKEN_CONNECTIONS = 5;

function diskError(path: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code !== 'ENOSPC' && code !== 'EACCES' && code !== 'EROFS' && code !== 'EDQUOT') return error;
  return new DrmError(
    'DISK',
    `[pull] ${path}: cannot be written (${(error as Error).message}); free some space, or set HF_HOME to another disk; the same command goes on where it stopped`,
    { file: path },
  );
}

async function hashOf(path: string, file: RemoteFile): Promise<string> {
  const hash = createHash(file.lfs ? 'sha256' : 'sha1');
  if (!file.lfs) hash.update(`blob ${(await stat(path)).size}\0`); // as git does
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** A lock file holds its owner's process id; one whose owner is gone is taken over. */
async function withLock<T>(path: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  for (;;) {
    try {
      await writeFile(path, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw diskError(path, error);
    }
    const owner = Number(await readFile(path, 'utf8').catch(() => ''));
    if (owner > 0 && owner !== process.pid && !alive(owner)) await rm(path, { force: true });
    else await new Promise((done) => setTimeout(done, 100));
    signal.throwIfAborted();
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Appends to `path` until it has the file's size; connections may break a few times without any progress being lost. */
async function receive(
  repository: Repository,
  file: RemoteFile,
  path: string,
  signal: AbortSignal,
  onBytes: (have: number) => void,
): Promise<void> {
  for (let breaks = 0; ; ) {
    let have = existsSync(path) ? (await stat(path)).size : 0;
    if (have > file.size) {
      await rm(path); // of another file, or of a server that ignored us
      have = 0;
    }
    onBytes(have);
    if (have === file.size && existsSync(path)) return;
    const url = fileUrl(repository.id, repository.type, repository.commit, file.path);
    const response = await get(url, file.path, repository.id, signal, have > 0 ? { range: `bytes=${have}-` } : {});
    const resumes = response.status === 206;
    const out = await open(path, resumes ? 'a' : 'w').catch((error: unknown) => {
      throw diskError(path, error);
    });
    if (!resumes) have = 0;
    const before = have;
    try {
      for await (const chunk of response.body ?? []) {
        await out.write(chunk as Uint8Array).catch((error: unknown) => {
          throw diskError(path, error);
        });
        have += (chunk as Uint8Array).length;
        onBytes(have);
        if (have > file.size) break;
      }
    } catch (error) {
      if (signal.aborted || error instanceof DrmError) throw error;
    } finally {
      await out.sync().catch(() => {});
      await out.close();
    }
    if (have > file.size)
      throw new DrmError(
        'NETWORK',
        `[pull] ${file.path}: expected ${file.size} bytes, the server sends more; try again later`,
        { file: file.path },
      );
    breaks = have > before ? 0 : breaks + 1;
    if (have < file.size && breaks >= BROKEN_CONNECTIONS)
      throw new DrmError(
        'NETWORK',
        `[pull] ${file.path}: the connection broke ${breaks} times at ${have} of ${file.size} bytes; the same command goes on from there`,
        { file: file.path },
      );
  }
}

/**
 * Puts one file into blobs/ and links it into the snapshot, as huggingface_hub does. A file that is there already is only
 * linked. Throws DrmError NETWORK (with the part kept for resuming) or DISK.
 */
export async function downloadFile(
  repository: Repository,
  file: RemoteFile,
  signal: AbortSignal,
  onBytes: (have: number) => void,
): Promise<'fetched' | 'present'> {
  const blob = join(repository.folder, 'blobs', file.hash);
  const link = join(repository.folder, 'snapshots', repository.commit, file.path);
  const lock = join(
    dirname(repository.folder),
    '.locks',
    repository.folder.slice(dirname(repository.folder).length + 1),
    `${file.hash}.drm.lock`,
  );
  return withLock(lock, signal, async () => {
    let result: 'fetched' | 'present' = 'present';
    if (!existsSync(blob)) {
      const incomplete = `${blob}.incomplete`;
      await mkdir(dirname(blob), { recursive: true }).catch((error: unknown) => {
        throw diskError(blob, error);
      });
      await receive(repository, file, incomplete, signal, onBytes);
      const found = await hashOf(incomplete, file);
      if (found !== file.hash) {
        await rm(incomplete); // nothing in it can be trusted
        throw new DrmError(
          'NETWORK',
          `[pull] ${file.path}: expected ${file.lfs ? 'sha256' : 'git hash'} ${file.hash}, found ${found}; the download was damaged and is removed, run the same command again`,
          { file: file.path, expected: file.hash, found },
        );
      }
      await rename(incomplete, blob);
      result = 'fetched';
    }
    onBytes(file.size);
    await mkdir(dirname(link), { recursive: true });
    const target = relative(dirname(link), blob);
    await lstat(link).then(
      () => rm(link),
      () => {},
    );
    await symlink(target, link);
    return result;
  });
}
