// Which clang-tidy reads the sources: the one that DRM_CLANG_TIDY names, one on PATH, or the pinned wheel's, which pip
// fetches into the user's cache.
import { join } from 'node:path';
import { publish } from '../setup/cache.mjs';
import { SetupError } from '../setup/errors.mjs';
import { ask } from '../setup/exec.mjs';
import { fetchByPip, pipDownload, sha256, wheelsIn } from '../setup/pip.mjs';
import { unpackWheel } from '../setup/wheel.mjs';

/** Checks differ from edition to edition, and editions before 21 also read torch's own headers, which takes minutes. */
export const WANTED_VERSION = '23.1.4';
const EDITION = WANTED_VERSION.split('.')[0];

/** The program, and the compiler's own headers where it looks for them. */
const isToolPart = (name) => /^clang_tidy\/data\/(bin\/clang-tidy(\.exe)?|lib\/clang\/.+)$/.test(name);

function versionOf(command) {
  const { ok, out } = ask(command, ['--version']);
  return ok ? /version (\d+\.\d+\.\d+)/.exec(out)?.[1] : undefined;
}

const fits = (version) => version?.split('.')[0] === EDITION;

async function unpackTool(work, log) {
  const [downloads, tree] = [join(work, 'wheels'), join(work, 'tree')];
  await pipDownload([`clang-tidy==${WANTED_VERSION}`], downloads, log, ['--no-deps']);
  const [wheel] = wheelsIn(downloads);
  if (!wheel) throw new Error('pip reported success, but left no wheel');
  await unpackWheel(wheel, tree, isToolPart);
  const mark = { wheel: wheel.slice(downloads.length + 1), sha256: await sha256(wheel) };
  return await publish(tree, `clang-tidy-${WANTED_VERSION}`, mark);
}

/** { command, version }, or { answer } saying why there is none. Throws a SetupError where DRM_CLANG_TIDY is no such one. */
export async function findClangTidy(say) {
  const named = process.env.DRM_CLANG_TIDY;
  if (named) {
    const version = versionOf(named);
    if (fits(version)) return { command: named, version };
    throw new SetupError(
      `[tidy] DRM_CLANG_TIDY=${named}: expected clang-tidy ${EDITION}, found ${version ?? 'none that runs'}; name another, or unset it to let ${WANTED_VERSION} be fetched`,
    );
  }
  const here = versionOf('clang-tidy');
  if (fits(here)) return { command: 'clang-tidy', version: here };
  const wanted = {
    what: 'clang-tidy',
    prefix: `clang-tidy-${WANTED_VERSION}`,
    announcement: `fetching ${WANTED_VERSION} with pip (45 MB) …`,
    make: unpackTool,
  };
  const { path, answer } = await fetchByPip(wanted, say);
  if (!path) return { answer };
  const command = join(path, 'clang_tidy', 'data', 'bin', 'clang-tidy');
  const version = versionOf(command);
  return version ? { command, version } : { answer: `${command} does not run: ${ask(command, ['--version']).err}` };
}
