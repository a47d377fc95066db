// A libtorch that looks as a CUDA build does: the CPU build's headers and libraries by links, empty CUDA libraries, and
// names for what is not installed (test/cuda_names). The core must be configured with it, and what only a CUDA build
// compiles must compile: the kernels by CMake's own commands, launch.cc, and NCCL's process group.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { jobs } from '../setup/exec.mjs';
import { recordedLibtorch } from '../setup/libtorch.mjs';
import { buildDir, coreBuildDir, root } from '../setup/paths.mjs';
import { capture } from './section.mjs';

const names = join(root, 'test', 'cuda_names');
const folder = join(buildDir, 'fake_cuda');
const torch = join(folder, 'torch');

async function must(command, args) {
  const { code, output } = await capture(command, args);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${output}`);
}

async function makeLibtorch(cuda) {
  const { path } = recordedLibtorch();
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(torch, 'lib'), { recursive: true });
  const cudas = /^lib(torch|c10)_cuda\.so$/;
  for (const name of readdirSync(join(path, 'lib')).filter((name) => !cudas.test(name)))
    symlinkSync(join(path, 'lib', name), join(torch, 'lib', name));
  for (const from of [join(path, 'include'), join(names, 'torch')])
    await must('cp', ['-rsf', `${from}/.`, join(torch, 'include')]);
  for (const name of ['torch_cuda', 'c10_cuda'])
    await must('c++', ['-shared', '-x', 'c++', '/dev/null', '-o', join(torch, 'lib', `lib${name}.so`)]);
  writeFileSync(join(torch, 'version.py'), `__version__ = '2.13.0+fake'\ncuda: Optional[str] = '${cuda}'\n`);
}

/** The names of these libraries where a wheel has its headers. */
function installHeaders(libraries) {
  const nvidia = join(folder, 'nvidia');
  rmSync(nvidia, { recursive: true, force: true });
  for (const name of libraries) {
    mkdirSync(join(nvidia, name), { recursive: true });
    symlinkSync(join(names, name), join(nvidia, name, 'include'));
  }
}

/** A variable of a build's CMake cache; undefined where there is none. */
function cached(build, variable) {
  const cache = join(build, 'CMakeCache.txt');
  if (!existsSync(cache)) return undefined;
  return new RegExp(`^${variable}:[A-Z]+=(.*)$`, 'm').exec(readFileSync(cache, 'utf8'))?.[1];
}

/** Configures the core; what its cache then says. Gloo is what the real build found: that takes a compiler long. */
async function configure(name, settings = []) {
  const build = join(folder, name);
  const gloo = cached(coreBuildDir, 'DRM_GLOO');
  const known = gloo === undefined ? [] : [`-DDRM_GLOO=${gloo}`, `-DDRM_GLOO_TRIED=${torch}`];
  known.push(`-DLIBTORCH=${torch}`, '-DCMAKE_CUDA_ARCHITECTURES=90');
  const { code, output } = await capture('cmake', ['-S', join(root, 'csrc'), '-B', build, ...known, ...settings]);
  if (code !== 0) throw new Error(output);
  const kernels = cached(build, 'DRM_CUDART') !== '';
  return { build, kernels, nccl: cached(build, 'DRM_NCCL') === 'TRUE', note: cached(build, 'DRM_CUDA_NOTE') ?? '' };
}

/** Compiles one of the core's files as CMake would. */
async function compile(build, file) {
  const commands = JSON.parse(readFileSync(join(build, 'compile_commands.json'), 'utf8'));
  const entry = commands.find((one) => one.file === join(root, 'csrc', file));
  if (!entry) throw new Error(`${file}: not among the files of a CUDA build`);
  const object = / -o (\S+)/.exec(entry.command)?.[1] ?? '';
  mkdirSync(join(entry.directory, dirname(object)), { recursive: true });
  const { code, output } = await capture('sh', ['-c', `cd '${entry.directory}' && ${entry.command}`]);
  if (code !== 0) throw new Error(output);
}

function expect(condition, said) {
  if (!condition) throw new Error(said);
}

/** [name, check, needs nvcc] of every check. */
const CHECKS = [
  [
    'a machine without nvcc: no kernels, and a word on it',
    async () => {
      const { kernels, note } = await configure('no_nvcc', ['-DNVCC=']);
      expect(!kernels && /no nvcc was found/.test(note), `kernels ${kernels}, note: ${note}`);
    },
    false,
  ],
  [
    "a toolkit without cuBLAS's headers: kernels, Gloo between GPUs",
    async () => {
      installHeaders(['nccl']);
      const { build, kernels, nccl, note } = await configure('no_math');
      const searched = cached(build, 'DRM_NCCL_TRIED')?.split(';') ?? [];
      const there = searched.some((include) => existsSync(join(include, 'cublas_v2.h'))); // a whole toolkit here
      expect(kernels && nccl === there && note === '', `kernels ${kernels}, NCCL ${nccl}, note: ${note}`);
    },
    true,
  ],
  [
    "the wheels' headers beside it: kernels and NCCL, and they compile",
    async () => {
      installHeaders(['math', 'nccl']);
      const { build, kernels, nccl, note } = await configure('whole');
      expect(kernels && nccl && note === '', `kernels ${kernels}, NCCL ${nccl}, note: ${note}`);
      const waiting = ['cuda/branch.cu', 'cuda/modulation.cu', 'cuda/launch.cc', 'parallel/c10d_group.cc'];
      const worker = async () => {
        for (let file = waiting.shift(); file; file = waiting.shift()) await compile(build, file);
      };
      await Promise.all(Array.from({ length: jobs() }, worker));
    },
    true,
  ],
];

/** Runs them; `cuda` is nvcc's version, undefined without one. Yields { name, error } or { name, skipped }. */
export async function* fakeCudaChecks(cuda) {
  await makeLibtorch(cuda ?? '13.0');
  for (const [name, check, needsNvcc] of CHECKS) {
    if (needsNvcc && cuda === undefined) {
      yield { name, skipped: true };
      continue;
    }
    try {
      await check();
      yield { name };
    } catch (error) {
      yield { name, error: error.message };
    }
  }
}
