// The C++ core (csrc/) and its tests, by CMake.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { jobs, openLog, run } from './exec.mjs';
import { coreBuildDir, root, sharedLibrary } from './paths.mjs';
import { filesUnder, Stamp } from './stamp.mjs';
import { checkToolchain, nvccHere } from './toolchain.mjs';

/** Of one processor, from nothing: measured on two AMD EPYC cores, where the whole demo took 22 minutes of CPU time. */
const CORE_MINUTES = 16;

export const coreLibrary = join(coreBuildDir, 'libdrm_core.a');

/** The nvcc at hand matters to a libtorch with CUDA alone. */
const nvccFor = (libtorch) =>
  existsSync(join(libtorch.path, 'lib', sharedLibrary('torch_cuda'))) ? nvccHere() : undefined;

function cached(variable) {
  try {
    const cache = readFileSync(join(coreBuildDir, 'CMakeCache.txt'), 'utf8');
    return new RegExp(`^${variable}:[A-Z]+=(.*)$`, 'm').exec(cache)?.[1];
  } catch {
    return undefined;
  }
}

async function configure(libtorch, log) {
  const { compiler, generator } = checkToolchain();
  // CMake refuses to change these in an existing tree, and a checkout that was moved has the old paths all over it.
  const stale =
    (cached('CMAKE_HOME_DIRECTORY') ?? join(root, 'csrc')) !== join(root, 'csrc') ||
    (cached('DRM_COMPILER') ?? compiler.version) !== compiler.version ||
    (cached('DRM_NVCC_SEEN') ?? '') !== (nvccFor(libtorch) ?? '');
  if (stale) rmSync(coreBuildDir, { recursive: true, force: true });
  const args = ['-S', join(root, 'csrc'), '-B', coreBuildDir, '-G', cached('CMAKE_GENERATOR') ?? generator];
  args.push(
    `-DLIBTORCH=${libtorch.path}`,
    `-DDRM_COMPILER=${compiler.version}`,
    `-DDRM_NVCC_SEEN=${nvccFor(libtorch) ?? ''}`,
    '-Wno-dev',
    '--no-warn-unused-cli',
  );
  await run('cmake', args, {
    log,
    env: { ...process.env, CXX: compiler.command },
    advice: 'the lines above name what CMake missed; delete build/core to start over.',
  });
}

async function build(target, libtorch, logName) {
  const log = openLog(logName);
  await configure(libtorch, log);
  await run('cmake', ['--build', coreBuildDir, '--target', target, '--parallel', String(jobs())], {
    log,
    advice:
      'a line with "error:" is the compiler\'s complaint. "Killed" means too little memory: set DRM_JOBS=1 and run again.',
  });
  log.stream.end();
}

/** The CUDA runtime that our kernels are linked with; empty in a build without them. */
export const cudaRuntime = () => cached('DRM_CUDART') ?? '';

/** The compiler that the core was configured with; undefined before. */
export const compilerHere = () => cached('CMAKE_CXX_COMPILER');

/** Builds build/core/libdrm_core.a when needed; returns the hash of what it was built from. */
export async function buildCore(libtorch, say) {
  const stamp = new Stamp('core');
  const hash = stamp.look(filesUnder(join(root, 'csrc')), { libtorch, nvcc: nvccFor(libtorch) });
  // No more than its existence: building the tests in the same tree may archive it again.
  if (stamp.fresh() && existsSync(coreLibrary)) return hash;
  say(
    existsSync(coreLibrary)
      ? 'core: building what changed …'
      : `core: building (first time about ${Math.ceil(CORE_MINUTES / jobs())} minutes) …`,
  );
  await build('drm_core', libtorch, 'core');
  const note = cached('DRM_CUDA_NOTE');
  if (note) say(`core: ${note}`);
  stamp.save();
  return hash;
}

/** Builds every C++ test program. */
export async function buildCoreTests(libtorch, coreHash, say) {
  const inputs = ['csrc', 'fuzz', 'parity', 'bench'].flatMap((dir) =>
    filesUnder(join(root, 'test', dir), (name) => /\.(cc|h|txt)$/.test(name)),
  );
  const stamp = new Stamp('core-tests');
  stamp.look(inputs, { libtorch, coreHash });
  if (stamp.fresh()) return;
  say('core tests: building …');
  await build('all', libtorch, 'core-tests');
  stamp.save();
}
