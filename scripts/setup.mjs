#!/usr/bin/env node
// Everything between a fresh clone and a running `drm`: packages, libtorch, core, addon, TypeScript. Each step is skipped
// when its inputs are those of its last success. Only Node's own modules here: this runs before the first `npm install`.
//   node scripts/setup.mjs [--quiet] [--tests]
//   --quiet  prints only what is being done, nothing when all is up to date
//   --tests  also builds the C++ test programs
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildAddon } from './setup/addon.mjs';
import { buildCore, buildCoreTests } from './setup/core.mjs';
import { runMain, SetupError } from './setup/errors.mjs';
import { findLibtorch } from './setup/libtorch.mjs';
import { withLock } from './setup/lock.mjs';
import { installPackages } from './setup/packages.mjs';
import { buildDir } from './setup/paths.mjs';
import { checkNode, checkToolchain } from './setup/toolchain.mjs';
import { buildTypeScript } from './setup/typescript.mjs';

function parseArguments(args) {
  const known = new Set(['--quiet', '--tests']);
  const unknown = args.filter((arg) => !known.has(arg));
  if (unknown.length > 0)
    throw new SetupError(`[setup] unknown option ${unknown[0]}; known: ${[...known].join(', ')}`, 2);
  return { quiet: args.includes('--quiet'), tests: args.includes('--tests') };
}

async function setUp({ quiet, tests }) {
  const started = Date.now();
  let done = 0;
  const say = (line) => {
    // Before anything slow: a machine without a compiler is told so before a download, not after.
    if (done === 0) checkToolchain();
    done += 1;
    console.error(line);
  };
  await installPackages(say);
  const libtorch = await findLibtorch(say);
  const coreHash = await buildCore(libtorch, say);
  await buildAddon(libtorch, coreHash, say);
  await buildTypeScript(say);
  if (tests) await buildCoreTests(libtorch, coreHash, say);
  if (done > 0) console.error(`setup: done in ${Math.round((Date.now() - started) / 1000)} s`);
  else if (!quiet) console.error('setup: everything is up to date');
}

await runMain(async () => {
  const options = parseArguments(process.argv.slice(2));
  checkNode();
  mkdirSync(buildDir, { recursive: true });
  const wait = (pid) => console.error(`setup: another one (process ${pid}) is at work in this checkout; waiting …`);
  await withLock(join(buildDir, 'setup.lock'), wait, () => setUp(options));
});
