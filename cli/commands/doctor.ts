import { constants, existsSync } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, resolve } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { ParallelInfo } from '../../binding/types.js';
import { defineCommand } from '../common/command.js';
import { cacheFolder, hubToken } from '../hub/cache.js';
import { bytes } from '../ui/figures.js';

interface Check {
  name: string;
  status: 'ok' | 'warn' | 'fail';
  found: string;
  remedy?: string;
}

const check = (name: string, status: Check['status'], found: string, remedy?: string): Check => ({
  name,
  status,
  found,
  ...(remedy !== undefined && status !== 'ok' && { remedy }),
});

/** The folder itself or the nearest one above it that exists. */
function nearestExisting(folder: string): string {
  let at = resolve(folder);
  while (!existsSync(at)) at = dirname(at);
  return at;
}

async function disk(name: string, folder: string, wanted: number): Promise<Check> {
  const at = nearestExisting(folder);
  if (!(await stat(at)).isDirectory()) return check(name, 'fail', `${at} is a file`, 'set HF_HOME to another folder');
  const { bavail, bsize } = await statfs(at);
  const free = bavail * bsize;
  return check(
    name,
    free < wanted ? 'warn' : 'ok',
    `${bytes(free)} free in ${folder}`,
    `SD3.5-Medium with T5 takes some 16 GB; free some space${name === 'model cache' ? ', or set HF_HOME to a larger disk' : ''}`,
  );
}

/** What connects processes that train one model together. */
function processes({ cpu, gpu }: ParallelInfo, gpus: number): Check {
  const name = 'processes';
  if (cpu === '')
    return check(
      name,
      'warn',
      'this libtorch has no Gloo that compiles here: one process trains, --nproc is refused',
      'point LIBTORCH to a libtorch of 2.11 to 2.14 (any PyTorch wheel) and run `npm run setup`',
    );
  if (gpus > 1 && gpu === '')
    return check(
      name,
      'warn',
      `${cpu}; without NCCL GPUs exchange gradients through main memory`,
      "install the nvidia-nccl wheel beside torch and the CUDA toolkit's headers, and run `npm run setup`",
    );
  return check(name, 'ok', gpu === '' ? cpu : `${cpu} between CPUs, ${gpu} between GPUs`);
}

async function native(): Promise<Check[]> {
  try {
    const { buildInfo, parallelInfo, runtimeInfo } = await import('../../binding/index.js');
    const build = buildInfo();
    const info = runtimeInfo();
    const cores = availableParallelism();
    const checks = [
      check('addon', 'ok', `loads; built by ${build.compiler}`),
      check('libtorch', 'ok', `${info.libtorch} (${build.libtorch})`),
      check(
        'CPU',
        /AVX2|AVX512|NEON|SVE|DEFAULT_ARM/i.test(info.cpuCapability) ? 'ok' : 'warn',
        `${info.cpuCapability}, ${info.cpuBf16 ? 'instructions for bf16' : 'no instructions for bf16: trainings with dtype auto take fp32'}`,
        'libtorch found no wide vector instructions: expect slow sampling',
      ),
      check(
        'threads',
        info.threads > cores ? 'warn' : 'ok',
        `${info.threads} of ${cores} cores`,
        'more threads than cores slow each other: set --threads',
      ),
      check('attention', 'ok', info.attention),
      processes(parallelInfo(), info.gpus.length),
    ];
    const usable = info.cudaError === '';
    for (const [i, gpu] of info.gpus.entries())
      checks.push(
        check(
          `GPU ${i}`,
          usable ? 'ok' : 'warn',
          `${gpu.name}, compute ${gpu.capability}, ${bytes(gpu.freeBytes)} of ${bytes(gpu.totalBytes)} free${usable ? '' : '; cannot be used'}`,
          'CUDA below says why',
        ),
      );
    if (info.gpus.length === 0)
      checks.push(check('GPU', 'warn', `none: ${info.cudaError}`, 'the tiny model needs none; SD3.5 does'));
    else if (!usable)
      checks.push(
        check(
          'CUDA',
          'warn',
          info.cudaError,
          info.cudaBuilt
            ? "update the NVIDIA driver, or point LIBTORCH to a build for the driver's CUDA and run `npm run setup`"
            : 'install a CUDA build of torch, or set LIBTORCH to one, and run `npm run setup`',
        ),
      );
    if (info.cudaBuilt)
      checks.push(
        info.cudaKernels
          ? check('CUDA kernels', 'ok', ['compiled', info.cudaNote].filter(Boolean).join('; '))
          : check('CUDA kernels', 'warn', 'not compiled', info.cudaNote),
      );
    return checks;
  } catch (error) {
    return [check('addon', 'fail', (error as Error).message, 'run `npm run setup`')];
  }
}

async function writable(folder: string): Promise<Check> {
  const at = nearestExisting(folder);
  try {
    if (!(await stat(at)).isDirectory())
      return check('output folder', 'fail', `${at} is a file`, 'name another folder with --out');
    await access(at, constants.W_OK);
    return check('output folder', 'ok', `${folder} can be written`);
  } catch {
    return check('output folder', 'fail', `${folder} cannot be written`, 'name another with --out');
  }
}

function token(): Check {
  const name = 'hub token';
  try {
    const found = hubToken() !== undefined;
    return check(name, 'ok', found ? 'present' : 'none (only gated models such as SD3.5 need one: HF_TOKEN)');
  } catch (error) {
    return check(name, 'fail', (error as Error).message, 'or unset it: only gated models need one');
  }
}

export const command = defineCommand({
  name: 'doctor',
  summary: 'say what this machine has, and what to do about what it lacks',
  examples: [
    { command: 'drm doctor', does: 'one line a check' },
    { command: 'drm doctor --json', does: 'the same for programs' },
  ],
  async run({ global, events }) {
    const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
    const recent = major > 20 || (major === 20 && minor >= 15);
    const checks = [
      check('Node', recent ? 'ok' : 'fail', process.versions.node, 'install Node 20.15 or newer'),
      ...(await native()),
      await disk('disk', process.cwd(), 2e9),
      await disk('model cache', cacheFolder(), 2e10),
      token(),
      await writable(global.out ?? 'out'),
    ];
    const width = Math.max(...checks.map((c) => c.name.length));
    for (const c of checks) {
      const text = `${c.status.padEnd(4)}  ${c.name.padEnd(width)}  ${c.found}${c.remedy ? `\n${' '.repeat(width + 8)}-> ${c.remedy}` : ''}`;
      events.emit({ event: 'result', text, data: c });
    }
    const failed = checks.filter((c) => c.status === 'fail').map((c) => c.name);
    if (failed.length > 0)
      throw new DrmError('ENVIRONMENT', `doctor: ${failed.join(', ')} failed; the lines above say what to do`);
  },
});
