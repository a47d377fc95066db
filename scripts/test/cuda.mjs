// Compiles every kernel for the GPUs we support. Needs nvcc, but no GPU.
import { mkdirSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { ask, jobs } from '../setup/exec.mjs';
import { buildDir, root } from '../setup/paths.mjs';
import { filesUnder } from '../setup/stamp.mjs';
import { capture, counts } from './section.mjs';

const ARCHITECTURES = ['sm_80', 'sm_90'];

export async function testCudaCompiles() {
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
