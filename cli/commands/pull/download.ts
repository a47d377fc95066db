// Downloads of several files at once: space for them, their progress, the end of all when one fails.
import { statfs } from 'node:fs/promises';
import { DrmError } from '../../../binding/error.js';
import type { Events } from '../../common/events.js';
import { makeFolder } from '../../common/files.js';
import { bytesAbsent, type Content, cacheError, download, type Repository } from '../../hub/download.js';
import { bytes } from '../../ui/figures.js';

const AT_ONCE = 4;

/** Makes the repository's folder, if anything is to come. Throws DrmError DISK when it cannot be, or has too little space. */
export async function requireSpace(repository: Repository, contents: Content[]): Promise<void> {
  const { folder } = repository;
  let needed = 0;
  for (const content of contents) needed += await bytesAbsent(repository, content);
  if (needed === 0) return;
  try {
    await makeFolder(folder);
    const { bavail, bsize } = await statfs(folder);
    if (bavail * bsize < needed)
      throw new DrmError(
        'DISK',
        `[pull] ${folder}: expected ${bytes(needed)} of free space, found ${bytes(bavail * bsize)}; free some, or set HF_HOME to another disk`,
        { file: folder },
      );
  } catch (error) {
    throw cacheError(folder, error);
  }
}

/** What a bar of a file is told: at most ten times a second, and at the end. */
function progressOf(path: string, size: number, events: Events): (have: number) => void {
  const began = performance.now();
  let told = 0;
  return (have) => {
    const now = performance.now();
    if (have < size && now - told < 100) return;
    told = now;
    events.emit({
      event: 'progress',
      id: path,
      label: path,
      step: have,
      total: size,
      unit: 'B',
      seconds: (now - began) / 1000,
    });
  };
}

/**
 * The largest first. One failure ends the other downloads by `stop`, and they keep what they have; `signal` is that of
 * `stop` and of the user. Returns how many were not there before, and the first failure.
 */
export async function downloadAll(
  repository: Repository,
  contents: Content[],
  stop: AbortController,
  signal: AbortSignal,
  events: Events,
): Promise<{ fetched: number; failure: { error: unknown } | undefined }> {
  const queue = contents.sort((a, b) => b.size - a.size);
  let failure: { error: unknown } | undefined;
  let fetched = 0;
  const worker = async () => {
    for (let content = queue.shift(); content && !signal.aborted; content = queue.shift()) {
      const { size } = content;
      const [path] = content.paths;
      try {
        const result = await download(repository, content, progressOf(path, size, events));
        if (result === 'fetched') fetched += 1;
      } catch (error) {
        failure ??= { error };
        stop.abort();
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return { fetched, failure };
}
