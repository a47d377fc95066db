// npm packages: `npm ci` when what is installed is not what package-lock.json asks for.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openLog, run } from './exec.mjs';
import { root } from './paths.mjs';

function readLock(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** Compares with npm's own record of what it put into node_modules, so that `npm install NAME` counts, too. */
export function packagesAreCurrent(folder = root) {
  const wanted = readLock(join(folder, 'package-lock.json'));
  const installed = readLock(join(folder, 'node_modules', '.package-lock.json'));
  if (!wanted || !installed) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true;
    const have = installed[path];
    if (!have) return Boolean(entry.optional || entry.devOptional); // another platform's binary
    return have.version === entry.version && have.integrity === entry.integrity && existsSync(join(folder, path));
  });
}

export async function installPackages(say) {
  if (packagesAreCurrent()) return;
  say('packages: installing (npm ci) …');
  const log = openLog('npm');
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund'];
  const npm = process.env.npm_execpath; // set when npm runs us; may not be on PATH under that name
  const [command, prefix] = npm?.endsWith('.js') ? [process.execPath, [npm]] : ['npm', []];
  await run(command, [...prefix, ...args], {
    log,
    advice: 'check the network and `npm config get registry`, then run the same command again.',
  });
  log.stream.end();
}
