// Benchmarks: figures side by side in one run, one JSON line each; never part of the tests.
//   npm run bench -- startup
//   npm run bench -- sample [--model small|medium|full] [--repeats N] [--threads N] [--steps N] [--device cpu|cuda] [--dtype fp32|bf16]
//   npm run bench -- sample --k 6 [--model tiny|small|medium|full] [--reward R] [--n N] [and the flags above]
//   npm run bench -- pretrain [--part vae|clip|flow] [--repeats N] [--steps N] [--threads N] [--dtype fp32|bf16] [--data DIR]
//   npm run bench -- train [--repeats N] [--steps N] [--threads N] [--dtype fp32|bf16] [--data DIR]
//   npm run bench -- grpo [--algorithm flow|step] [--repeats N] [--threads N] [--batch N] [--denoising-steps N] [--kl-beta N] [--guidance N]
//   npm run bench -- data
//   npm run bench -- score [--scorer clip-h|imagereward|hpsv3-2b] [--size real|tiny] [--images N] [--side N] [--repeats N] [--threads N] [--dtype D]
// The Python half needs diffusers (for CLIP, transformers; for GRPO, peft) in the Python that DRM_BENCH_PYTHON names (default python3);
// without it, it says so.
import { cpus } from 'node:os';
import { drm, median, timed } from './common.js';

async function startup(): Promise<void> {
  for (const args of [['--help'], ['--version'], ['doctor']]) {
    const seconds: number[] = [];
    for (let i = 0; i < 9; i++) seconds.push((await timed(process.execPath, [drm, ...args])).seconds);
    console.log(
      JSON.stringify({
        bench: 'startup',
        command: `drm ${args.join(' ')}`,
        median_s: Number(median(seconds).toPrecision(3)),
        best_s: Number(Math.min(...seconds).toPrecision(3)),
        cpu: cpus()[0]?.model,
      }),
    );
  }
}

// Each bench is loaded when it runs: sharp and the addon are not wanted by all.
const benches: Record<string, () => Promise<void>> = {
  startup,
  sample: async () =>
    process.argv.some((arg) => /^--k(=|$)/.test(arg))
      ? (await import('./stepwise.js')).stepwise()
      : (await import('./sample.js')).sample(),
  pretrain: async () => (await import('./pretrain.js')).pretrain(),
  data: async () => (await import('./data.js')).data(),
  grpo: async () => (await import('./grpo.js')).grpo(),
  train: async () => (await import('./train.js')).train(),
  score: async () => (await import('./score.js')).score(),
};
const asked = process.argv[2];
const bench = benches[asked ?? ''];
if (bench) await bench();
else {
  console.error(`bench: expected one of ${Object.keys(benches).join(', ')}, found ${asked ?? 'nothing'}`);
  process.exitCode = 2;
}
