// The Node addon (binding/), by node-gyp. binding.gyp reads build/libtorch.json and links build/core/libdrm_core.a.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { coreLibrary, cudaRuntime } from './core.mjs';
import { SetupError } from './errors.mjs';
import { ask, jobs, openLog, run } from './exec.mjs';
import { addonFile, buildDir, root } from './paths.mjs';
import { filesUnder, Stamp } from './stamp.mjs';
import { checkToolchain } from './toolchain.mjs';

/** Node's own headers, when they are installed beside it; otherwise node-gyp fetches them. */
function nodeHeaders() {
  if (process.env.npm_config_nodedir) return process.env.npm_config_nodedir;
  const prefix = join(process.execPath, '..', '..');
  const version = join(prefix, 'include', 'node', 'node_version.h');
  if (!existsSync(version)) return undefined;
  const major = /NODE_MAJOR_VERSION (\d+)/.exec(readFileSync(version, 'utf8'))?.[1];
  return major === process.versions.node.split('.')[0] ? prefix : undefined;
}

/** What buildInfo() of the addon will say; only build_info.cc includes it, so little is recompiled. */
function writeBuildInfo(hash, libtorch, compiler) {
  const folder = join(buildDir, 'addon');
  mkdirSync(folder, { recursive: true });
  const literal = (text) => JSON.stringify(text); // a JSON string of printable ASCII is a C++ one, too
  writeFileSync(
    join(folder, 'build_info.h'),
    `// Written by scripts/setup/addon.mjs.
#define DRM_SOURCE_HASH ${literal(hash)}
#define DRM_LIBTORCH_BUILD ${literal(libtorch.build)}
#define DRM_LIBTORCH_PATH ${literal(libtorch.path)}
#define DRM_COMPILER ${literal(compiler.version)}
`,
  );
}

/** Loads the fresh addon in a process of its own: a missing library or symbol shows here, with its name. */
function checkLoads(hash) {
  const script = `process.stdout.write(require(${JSON.stringify(addonFile)}).buildInfo().sourceHash)`;
  const { ok, out, err } = ask(process.execPath, ['-e', script]);
  if (ok && out === hash) return;
  throw new SetupError(
    `[setup] ${addonFile}: built, but does not load: ${err || `its source hash is ${out}, expected ${hash}`}\nWhat to do: delete build/ and binding/build/, then run the same command again.`,
  );
}

export async function buildAddon(libtorch, coreHash, say) {
  const stamp = new Stamp('addon');
  const inputs = [...filesUnder(join(root, 'binding', 'src')), join(root, 'binding', 'binding.gyp')];
  const hash = stamp.look(inputs, { libtorch, coreHash, node: process.versions.modules });
  if (stamp.fresh()) return;
  say('addon: building …');
  const { compiler } = checkToolchain();
  writeBuildInfo(hash, libtorch, compiler);
  const log = openLog('addon');
  const headers = nodeHeaders();
  const gyp = [join(root, 'node_modules', 'node-gyp', 'bin', 'node-gyp.js'), '-C', join(root, 'binding')];
  const options = { log, env: { ...process.env, CXX: compiler.command }, cwd: join(root, 'binding') };
  const settings = [...(headers ? [`--nodedir=${headers}`] : []), '--', `-Dcudart=${cudaRuntime()}`];
  await run(process.execPath, [...gyp, 'configure', ...settings], {
    ...options,
    advice:
      "node-gyp needs python3 and Node's headers; set npm_config_nodedir to the folder with include/node to work offline.",
  });
  rmSync(addonFile, { force: true }); // gyp does not see that libdrm_core.a changed
  await run(process.execPath, [...gyp, 'build', `--jobs=${jobs()}`], {
    ...options,
    advice: `a line with "error:" is the compiler's complaint; ${coreLibrary} must come from the same sources: delete build/core if in doubt.`,
  });
  log.stream.end();
  checkLoads(hash);
  stamp.save([addonFile]);
}
