// What setup fetches, in the user's cache: folders that appear at once (made beside it, then renamed), shared by all
// checkouts.
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SetupError } from './errors.mjs';
import { withLock } from './lock.mjs';
import { userCacheDir } from './paths.mjs';

/** Written last into a cached folder: what it came from. A folder without it is not whole. */
const MARK = 'drm.json';

/** Whole folders whose name begins so, newest first. */
export function cachedFolders(prefix) {
  const cache = userCacheDir();
  if (!existsSync(cache)) return [];
  return readdirSync(cache)
    .filter((name) => name.startsWith(prefix) && existsSync(join(cache, name, MARK)))
    .map((name) => join(cache, name))
    .sort((a, b) => statSync(join(b, MARK)).mtimeMs - statSync(join(a, MARK)).mtimeMs);
}

/** One fetch at a time per user, in a work folder that is gone afterwards, whatever happens. */
export async function inWorkFolder(what, say, work) {
  const cache = userCacheDir();
  try {
    mkdirSync(cache, { recursive: true });
  } catch (error) {
    throw new SetupError(
      `[setup] ${cache}: cannot be created (${error.code}); set XDG_CACHE_HOME to a folder that you may write to.`,
    );
  }
  const wait = (pid) => say(`${what}: process ${pid} is fetching already; waiting …`);
  return await withLock(join(cache, 'fetch.lock'), wait, async () => {
    const folder = join(cache, 'fetching');
    await rm(folder, { recursive: true, force: true }); // left by one that was killed: the lock says nobody is at it
    await mkdir(folder);
    try {
      return await work(folder);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

/** Puts a finished folder into the cache under its name; `mark` says what it came from. */
export async function publish(tree, name, mark) {
  await writeFile(join(tree, MARK), `${JSON.stringify(mark, null, 2)}\n`);
  const final = join(userCacheDir(), name);
  await rm(final, { recursive: true, force: true }); // can only be one without its mark
  await rename(tree, final);
  return final;
}
