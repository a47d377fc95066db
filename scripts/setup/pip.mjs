// Wheels by pip, which only downloads them: what is in them is unpacked and checked here (wheel.mjs).
import { createHash } from 'node:crypto';
import { createReadStream, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { cachedFolders, inWorkFolder } from './cache.mjs';
import { ask, openLog, run } from './exec.mjs';

export async function sha256(path) {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

export async function pipDownload(requirements, folder, log, extra = []) {
  const args = ['-m', 'pip', 'download', '--only-binary=:all:', '--disable-pip-version-check', '--dest', folder];
  await run('python3', [...args, ...extra, ...requirements], { log, advice: '' });
}

export function wheelsIn(folder) {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.whl'))
    .map((name) => join(folder, name));
}

function lastLine(text) {
  return text.trim().split('\n').at(-1) ?? '';
}

/**
 * { path } of the cached folder whose name begins with `prefix`; where there is none, of the one that `make(work, log)`
 * publishes; { answer } saying why not. `what` names the log and the messages; `announcement` is said before a download.
 */
export async function fetchByPip({ what, prefix, announcement, make }, say) {
  const [cached] = cachedFolders(prefix);
  if (cached) return { path: cached };
  if (!ask('python3', ['-m', 'pip', '--version']).ok) return { answer: 'python3 has no pip' };
  return await inWorkFolder(what, say, async (work) => {
    const [meanwhile] = cachedFolders(prefix);
    if (meanwhile) return { path: meanwhile };
    say(`${what}: ${announcement}`);
    const log = openLog(what);
    try {
      return { path: await make(work, log) };
    } catch (error) {
      const words = error.message.split('\n').filter((line) => /^ERROR|^OSError|No space/.test(line.trim()));
      return { answer: `${lastLine(words.join('\n') || error.message)} (log: build/logs/${what}.log)` };
    } finally {
      log.stream.end();
    }
  });
}
