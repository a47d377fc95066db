// `drm pretrain` against the same training step in PyTorch: one process a side, which take turns, so that whatever else
// the machine does meets both. Then a short real run, for the share of time that the steps wait for data.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { resolveConfig } from '../../cli/config/resolve.js';
import { drm, machine, repository, rounded, timed } from './common.js';
import { compareSteps, dataWait } from './sides.js';
import type { Workload } from './training_steps.js';

const PARTS = {
  vae: { config: 'pretrain/tiny-vae', model: 'vae', module: 'diffusers' },
  clip: { config: 'pretrain/tiny-clip-l', model: 'clip-l', module: 'transformers' },
  flow: { config: 'pretrain/tiny-flow', model: 'transformer', module: 'diffusers' },
} as const;
type Part = keyof typeof PARTS;

/** A prepared set, made once; its smallest split is enough to train on. */
async function dataSet(given: string | undefined): Promise<string> {
  const folder = given ?? join(repository, 'build/bench/emoji');
  if (!existsSync(join(folder, 'manifest.json'))) {
    console.error(`preparing ${folder}`);
    await timed(process.execPath, [drm, 'data', 'prepare', 'emoji', '--out', folder]);
  }
  return folder;
}

/** A real run of `steps` steps; the share of them spent waiting for data. */
async function shortRun(part: Part, folder: string, steps: number, threads: string, more: string[]): Promise<number> {
  const settings = { split: 'test', steps, log_every: steps, warm_up: 1, evaluate_samples: 24 };
  const never = { evaluate_every: 0, checkpoint_every: 0, checkpoint_minutes: 0 };
  const unseen = part === 'clip' ? {} : { preview_every: 0 }; // CLIP draws nothing
  const set = Object.entries({ ...settings, ...never, ...unseen }).flatMap(([key, value]) => [
    '--set',
    `${key}=${value}`,
  ]);
  const args = ['pretrain', part, '--config', PARTS[part].config, '--threads', threads, '--json', '--out', folder];
  const { stdout } = await timed(process.execPath, [drm, ...args, ...set, ...more]);
  return dataWait(stdout);
}

function workload(part: Part, threads: string, dtype: string | undefined, runs: Record<Part, string>): Workload {
  const { model, config: preset } = PARTS[part];
  const config = join(repository, 'configs/models/tiny', model, 'config.json');
  const text = JSON.parse(readFileSync(join(repository, 'configs/models/tiny/clip-l/config.json'), 'utf8')).text_config;
  return {
    part,
    config,
    threads: Number(threads),
    tokens: part === 'vae' ? 0 : text.max_position_embeddings,
    vocabulary: text.vocab_size,
    settings: resolveConfig(`pretrain_${part}`, { file: preset, flags: { dtype } }).values,
    ...(part === 'flow' && {
      parts: { vae: join(runs.vae, 'model/vae'), clipL: join(runs.clip, 'model'), clipG: join(runs.clip, 'model') },
    }),
  } as Workload;
}

export async function pretrain(): Promise<void> {
  const { values } = parseArgs({
    allowPositionals: true,
    options: {
      part: { type: 'string' },
      repeats: { type: 'string', default: '5' },
      steps: { type: 'string', default: '4' },
      'run-steps': { type: 'string', default: '20' },
      threads: { type: 'string', default: String(availableParallelism()) },
      dtype: { type: 'string' },
      data: { type: 'string' },
    },
  });
  const asked = values.part ? [values.part as Part] : (Object.keys(PARTS) as Part[]);
  for (const part of asked) if (!(part in PARTS)) throw new Error(`--part: expected vae, clip or flow, found ${part}`);
  const { threads } = values;
  const data = await dataSet(values.data);
  const scratch = mkdtempSync(join(tmpdir(), 'drm-bench-'));
  const runs = { vae: join(scratch, 'vae'), clip: join(scratch, 'clip'), flow: join(scratch, 'flow') };
  try {
    const tokenizer = join(scratch, 'tokenizer');
    await timed(process.execPath, [drm, 'data', 'tokenizer', data, '--out', tokenizer]);
    const clips = ['--clip-l', join(runs.clip, 'model'), '--clip-g', join(runs.clip, 'model')];
    const own: Record<Part, string[]> = {
      vae: [],
      clip: ['--tokenizer', tokenizer],
      flow: ['--vae', join(runs.vae, 'model/vae'), ...clips],
    };
    // The flow is trained beside the other two parts: their runs are then made as well, as short as can be.
    const waits = new Map<Part, number>();
    for (const part of Object.keys(PARTS) as Part[]) {
      if (!asked.includes(part) && !asked.includes('flow')) continue;
      const steps = asked.includes(part) ? Number(values['run-steps']) : 1;
      waits.set(part, await shortRun(part, runs[part], steps, threads, ['--data', data, ...own[part]]));
    }
    for (const part of asked) {
      const work = workload(part, threads, values.dtype, runs);
      const { median_s, best_s, median_cpu_s } = await compareSteps(work, PARTS[part].module, {
        repeats: Number(values.repeats),
        steps: Number(values.steps),
      });
      const { batch, dtype } = work.settings;
      console.log(
        JSON.stringify({
          bench: 'pretrain',
          part,
          model: `models/tiny/${PARTS[part].model}`,
          batch,
          dtype,
          threads: Number(threads),
          steps: Number(values.repeats) * Number(values.steps),
          ...machine(),
          median_s,
          best_s,
          median_cpu_s,
          waiting_for_data: rounded(waits.get(part) ?? Number.NaN, 2),
        }),
      );
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
