// Compiles every kernel for the GPUs we support, and the rest of a CUDA build against a fake libtorch. Needs nvcc, but no
// GPU and no CUDA libtorch.
import { mkdirSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { ask, jobs } from '../setup/exec.mjs';
import { buildDir, root } from '../setup/paths.mjs';
import { filesUnder } from '../setup/stamp.mjs';
import { fakeCudaChecks } from './fake_cuda.mjs';
import { capture, counts } from './section.mjs';

const ARCHITECTURES = ['sm_80', 'sm_90'];

async function kernelsCompile() {
  const sources = filesUnder(join(root, 'csrc', 'cuda'), (name) => name.endsWith('.cu'));
  const checks = sources.flatMap((source) => ARCHITECTURES.map((architecture) => ({ source, architecture })));
  if (!ask('nvcc', ['--version']).ok) {
    console.log(`  SKIPPED: no nvcc on PATH, so ${checks.length} CUDA compilations were not tried`);
    return counts(0, 0, checks.length);
  }
  const folder = join(buildDir, 'cuda');
  mkdirSync(folder, { recursive: true });
  let failed = 0;
  const waiting = [...checks];
  const worker = async () => {
    for (let check = waiting.shift(); check; check = waiting.shift()) {
      const { source, architecture } = check;
      const object = join(folder, `${basename(source, '.cu')}.${architecture}.o`);
      const args = ['-std=c++20', `-arch=${architecture}`, '-Werror', 'all-warnings', '-I', join(root, 'csrc'), '-c'];
      const { code, output } = await capture('nvcc', [...args, source, '-o', object]);
      console.log(`  ${code === 0 ? 'ok  ' : 'FAIL'}  ${relative(root, source)} for ${architecture}`);
      if (code !== 0) {
        console.log(output);
        ++failed;
      }
    }
  };
  await Promise.all(Array.from({ length: jobs() }, worker));
  return counts(checks.length - failed, failed);
}

async function buildsWithCuda() {
  if (process.platform !== 'linux') {
    console.log('  SKIPPED: libtorch has CUDA on Linux alone');
    return counts(0, 0, 1);
  }
  const { ok, out } = ask('nvcc', ['--version']);
  const cuda = ok ? /release (\d+\.\d+)/.exec(out)?.[1] : undefined;
  let [passed, failed, skipped] = [0, 0, 0];
  for await (const check of fakeCudaChecks(cuda)) {
    if (check.skipped) ++skipped;
    else if (check.error) ++failed;
    else ++passed;
    console.log(`  ${check.skipped ? 'SKIPPED (no nvcc)' : check.error ? 'FAIL' : 'ok  '}  ${check.name}`);
    if (check.error) console.log(check.error);
  }
  return counts(passed, failed, skipped);
}

export async function testCuda() {
  const [a, b] = [await kernelsCompile(), await buildsWithCuda()];
  return counts(a.passed + b.passed, a.failed + b.failed, a.skipped + b.skipped);
}
