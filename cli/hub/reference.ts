// The commit that a revision's name stands for, kept in the cache.
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { makeFolder, sweepUnfinished, writeAtomically } from '../common/files.js';
import { cacheError } from './download.js';

/** What the revision's name stands for, for those who look it up without the hub. Nothing is written where it is known. */
export async function keepReference(folder: string, revision: string, commit: string): Promise<void> {
  if (revision === commit) return;
  const file = join(folder, 'refs', revision);
  if ((await readFile(file, 'utf8').catch(() => '')) === commit) return;
  try {
    await makeFolder(dirname(file));
  } catch (error) {
    throw cacheError(file, error);
  }
  await sweepUnfinished(dirname(file), [basename(file)]);
  try {
    await writeAtomically(file, commit, ', or set HF_HOME to another folder');
  } catch (error) {
    // Another pull may have swept ours away, and then writes the same.
    if ((await readFile(file, 'utf8').catch(() => '')) !== commit) throw error;
  }
}
