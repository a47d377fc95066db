// `drm sample` against diffusers, on the same weights, seed, threads and steps.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { drm, machine, median, python, pythonHas, repository, rounded, timed } from './common.js';

const fixture = join(repository, 'test/golden/pipeline');

interface Run {
  total_s: number;
  seconds_per_step: number;
  peak_mb: number;
}

export const SIZES = {
  small: { transformer: undefined, vae: undefined, height: 64, width: 96, steps: 10 },
  // About 150 M parameters, 64 x 64 latents; a narrow VAE, so that decoding does not hide the steps.
  medium: {
    transformer: {
      num_layers: 7,
      num_attention_heads: 12,
      attention_head_dim: 64,
      caption_projection_dim: 768,
      dual_attention_layers: [0, 1, 2],
      pos_embed_max_size: 96,
      sample_size: 64,
    },
    vae: { block_out_channels: [32, 64, 128, 128], norm_num_groups: 32, layers_per_block: 1 },
    height: 512,
    width: 512,
    steps: 4,
  },
  // SD3.5-Medium itself; for a GPU.
  full: {
    transformer: {
      num_layers: 24,
      num_attention_heads: 24,
      attention_head_dim: 64,
      caption_projection_dim: 1536,
      dual_attention_layers: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
      pos_embed_max_size: 384,
      sample_size: 128,
    },
    vae: { block_out_channels: [128, 256, 512, 512], norm_num_groups: 32, layers_per_block: 2 },
    height: 512,
    width: 512,
    steps: 50,
  },
} as const;

export function prepareModel(name: keyof typeof SIZES, dtype: string): string {
  const { transformer, vae } = SIZES[name];
  if (!transformer) return fixture;
  const sizes = createHash('sha256')
    .update(JSON.stringify([transformer, vae]))
    .digest('hex')
    .slice(0, 8);
  const folder = join(repository, 'build/bench', `${name}-${dtype}-${sizes}`);
  if (existsSync(join(folder, 'vae/diffusion_pytorch_model.safetensors'))) return folder;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const part of readdirSync(fixture))
    if (!part.endsWith('.safetensors'))
      cpSync(join(fixture, part), join(folder, part), {
        recursive: true,
        filter: (file) => !file.endsWith('.safetensors'),
      });
  const change = (part: string, values: object) => {
    const file = join(folder, part, 'config.json');
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...values }, null, 2));
  };
  change('transformer', transformer);
  change('vae', vae);
  execFileSync(join(repository, 'build/core/drm_random_model'), [folder, dtype], { stdio: 'inherit' });
  return folder;
}

export async function sample(): Promise<void> {
  const { values } = parseArgs({
    allowPositionals: true,
    options: {
      model: { type: 'string' },
      repeats: { type: 'string', default: '3' },
      threads: { type: 'string' },
      steps: { type: 'string' },
      device: { type: 'string', default: 'cpu' },
      dtype: { type: 'string', default: 'fp32' },
    },
  });
  const threads = values.threads ?? String(availableParallelism());
  const hasPython = pythonHas('diffusers');
  const names = values.model ? [values.model as keyof typeof SIZES] : (['small', 'medium'] as const);
  for (const name of names) {
    const size = SIZES[name];
    if (!size) throw new Error(`--model: expected small, medium or full, found ${name}`);
    const model = prepareModel(name, values.dtype);
    const scratch = mkdtempSync(join(tmpdir(), 'drm-bench-'));
    const common = {
      steps: values.steps ?? String(size.steps),
      height: String(size.height),
      width: String(size.width),
      guidance: '4.5',
      seed: '1',
      threads,
      device: values.device,
      dtype: values.dtype,
    };
    const flags = Object.entries(common).flatMap(([key, value]) => [`--${key}`, value]);
    const prompt = ['--prompt', 'a red fox', '--model', model];
    const ours: Run[] = [];
    const theirs: Run[] = [];
    let difference = Number.NaN;
    for (let i = 0; i < Number(values.repeats); i++) {
      const out = join(scratch, `drm-${i}`);
      const mine = await timed(process.execPath, [drm, 'sample', ...prompt, ...flags, '--json', '--out', out]);
      const done = mine.stdout.split('\n').find((line) => line.includes('"event":"done"'));
      const facts = JSON.parse(done ?? '{}').facts as { seconds_per_step: number };
      ours.push({ total_s: mine.seconds, seconds_per_step: facts.seconds_per_step, peak_mb: mine.peakMb });
      if (!hasPython) continue;
      const png = join(scratch, 'python.png');
      const other = await timed(python, [
        join(repository, 'test/bench/python/sample_diffusers.py'),
        ...prompt,
        ...flags,
        '--out',
        png,
      ]);
      const figures = JSON.parse(other.stdout.trim().split('\n').at(-1) ?? '{}') as Run;
      theirs.push({ total_s: other.seconds, seconds_per_step: figures.seconds_per_step, peak_mb: other.peakMb });
      const pixels = (file: string) => sharp(file).removeAlpha().raw().toBuffer();
      const [a, b] = await Promise.all([pixels(join(out, readdirSync(out)[0] ?? '')), pixels(png)]);
      difference = a.reduce((worst, value, at) => Math.max(worst, Math.abs(value - (b[at] ?? 0))), 0);
    }
    rmSync(scratch, { recursive: true });
    const of = (runs: Run[], key: keyof Run) => rounded(median(runs.map((r) => r[key])));
    const row = (key: keyof Run) => ({
      drm: of(ours, key),
      ...(hasPython && { diffusers: of(theirs, key), ratio: rounded(of(theirs, key) / of(ours, key), 3) }),
    });
    console.log(
      JSON.stringify({
        bench: 'sample',
        model: name,
        ...common,
        repeats: Number(values.repeats),
        ...machine(),
        whole_process_s: row('total_s'),
        seconds_per_step: row('seconds_per_step'),
        peak_mb: row('peak_mb'),
        ...(hasPython && { largest_pixel_difference: difference }),
      }),
    );
  }
}
