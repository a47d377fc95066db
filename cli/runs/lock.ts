// One process in a run folder.
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { diskError } from '../common/files.js';
import { FileLock, nameOf, signsOf } from '../common/lock.js';

export const LOCK_FILE = 'run.lock';

export type RunLock = FileLock;

export const RunLock = {
  /** Throws DrmError BAD_REQUEST naming the process that holds the folder, DISK where it cannot be written. */
  async take(folder: string): Promise<RunLock> {
    const file = join(folder, LOCK_FILE);
    const got = await FileLock.take(file).catch((error: unknown) => {
      throw diskError(file, error);
    });
    if (got instanceof FileLock) return got;
    const signs = signsOf(got);
    throw new DrmError(
      'BAD_REQUEST',
      `[run] ${folder}: expected to be alone in it, found ${nameOf(got)} at work there${signs && ` (${signs})`}; wait for it or stop it, or name another folder with --out`,
      { folder, pid: String(got.pid), host: got.host },
    );
  },
};
