// Files and folders that are put in place whole or not at all.
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { access, constants, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { throwLack } from './errors.js';

const ADVICE: Record<string, string> = {
  ENOSPC: 'free some space',
  EDQUOT: 'free some space',
  ENOTDIR: 'a file is where a folder should be: move it away',
  EEXIST: 'a file is where a folder should be: move it away',
  ENAMETOOLONG: 'the name is too long',
};

/** What a failed write means to the user. A DrmError stays what it is. `elsewhere`: what to do but make room. */
export function diskError(path: string, error: unknown, elsewhere = ', or name another folder with --out'): DrmError {
  if (error instanceof DrmError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const advice = ADVICE[code] ?? 'check its permissions';
  return new DrmError('DISK', `[out] ${path}: cannot be written: ${(error as Error).message}; ${advice}${elsewhere}`, {
    file: path,
    reason: code,
  });
}

/** Makes the folder and those above it. Node's own way goes on for ever where the system has no such place (below /proc). */
export async function makeFolder(folder: string, isLastTry = false): Promise<void> {
  try {
    await mkdir(folder);
  } catch (error) {
    const isThere = await stat(folder).then(
      (found) => found.isDirectory(),
      () => false,
    );
    if (isThere) return;
    const above = dirname(folder);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || isLastTry || above === folder) throw error;
    await makeFolder(above);
    await makeFolder(folder, true);
  }
}

/** Makes the folder and proves that it can be written, before any work is done for it. Throws DrmError DISK. */
export async function prepareFolder(folder: string): Promise<void> {
  if (existsSync(folder) && !(await stat(folder)).isDirectory())
    throw new DrmError('DISK', `[out] ${folder}: expected a folder, found a file; name another with --out`, {
      file: folder,
    });
  try {
    await makeFolder(resolve(folder));
    await access(folder, constants.W_OK);
    // Root may "access" a read-only file system; only writing tells.
    const probe = join(folder, `.drm-${randomBytes(6).toString('hex')}`);
    await (await open(probe, 'wx')).close();
    await rm(probe);
  } catch (error) {
    throw diskError(folder, error);
  }
}

/**
 * Writes to a temporary name in the same folder, syncs and renames. Throws DrmError DISK, nothing left behind; `elsewhere` as
 * in diskError.
 */
export async function writeAtomically(path: string, data: Uint8Array | string, elsewhere?: string): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString('hex')}`);
  try {
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw diskError(path, error, elsewhere);
  }
}

/** Takes away what killed processes left of `writeAtomically` and `prepareFolder`. Only for the holder of the folder's lock. */
export async function sweepUnfinished(folder: string, names: readonly string[]): Promise<void> {
  const isLeft = (found: string) =>
    names.some((name) => found.startsWith(`.${name}.`) && /^[0-9a-f]{8}$/.test(found.slice(name.length + 2))) ||
    /^\.drm-[0-9a-f]{12}$/.test(found);
  for (const found of await readdir(folder)) if (isLeft(found)) await rm(join(folder, found), { force: true });
}

/** Makes what was written or renamed inside a folder survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The sha256 of a file. Throws DrmError BAD_FILE when it cannot be read. */
export async function hashOfFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  } catch (error) {
    throwLack(error);
    throw new DrmError('BAD_FILE', `[data] ${file}: cannot be read: ${(error as Error).message}`, { file });
  }
  return hash.digest('hex');
}
