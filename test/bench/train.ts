// `drm train` against the same training step in PyTorch (the embedded base truncated, head, preference loss), taking turns;
// then short real runs, for the share of time that the steps wait for data.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { resolveConfig } from '../../cli/config/resolve.js';
import { readManifest } from '../../cli/data/prepared/manifest.js';
import { resolveModel } from '../../cli/hub/resolve.js';
import { keptByRule } from '../../cli/rewards/base_fit.js';
import { loadTokenizers, Tokenizer } from '../../cli/text/tokenizer.js';
import { drm, machine, repository, rounded, timed } from './common.js';
import { compareSteps, dataWait } from './sides.js';
import type { Workload } from './training_steps.js';

const PRESET = 'train/tiny';

/** Pairs to read, made once; a part of the embedded preferences is enough. */
async function pairSet(given: string | undefined): Promise<string> {
  const folder = given ?? join(repository, 'build/bench/prefs');
  if (!existsSync(join(folder, 'manifest.json'))) {
    console.error(`preparing ${folder}`);
    const args = ['data', 'prepare', 'emoji-prefs', '--max-pairs', '2000', '--out', folder];
    await timed(process.execPath, [drm, ...args]);
  }
  return folder;
}

/** A real run of `steps` steps; the share of them spent waiting for data. */
async function shortRun(data: string, steps: number, latents: string, threads: string): Promise<number> {
  const scratch = mkdtempSync(join(tmpdir(), 'drm-bench-'));
  try {
    const never = { evaluate_every: 0, checkpoint_every: 0, checkpoint_minutes: 0 };
    // The smallest part that holds a few batches: all of its images are encoded first, where latents are cached.
    const splits = Object.entries(readManifest(data, 'pairs').splits).sort((a, b) => a[1] - b[1]);
    const split = splits.find(([, pairs]) => pairs >= 1000)?.[0] ?? 'train';
    const set = Object.entries({ split, steps, log_every: steps, warm_up: 1, latents, ...never });
    const args = ['train', '--config', PRESET, '--data', data, '--threads', threads, '--json'];
    const settings = set.flatMap(([key, value]) => ['--set', `${key}=${value}`]);
    const { stdout } = await timed(process.execPath, [drm, ...args, ...settings, '--out', join(scratch, 'run')]);
    return dataWait(stdout);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

export async function train(): Promise<void> {
  const { values } = parseArgs({
    allowPositionals: true,
    options: {
      repeats: { type: 'string', default: '5' },
      steps: { type: 'string', default: '4' },
      'run-steps': { type: 'string', default: '20' },
      threads: { type: 'string', default: String(availableParallelism()) },
      dtype: { type: 'string' },
      data: { type: 'string' },
    },
  });
  const { threads } = values;
  const data = await pairSet(values.data);
  const { source, tokenizers } = await resolveModel('tiny');
  const config = String(source.transformer.config);
  const layers = (JSON.parse(readFileSync(config, 'utf8')) as { num_layers: number }).num_layers;
  const flags = { dtype: values.dtype };
  for (const latents of ['cached', 'on_the_fly'] as const) {
    const settings = resolveConfig('train', { file: PRESET, set: [`latents=${latents}`], flags }).values;
    const keepLayers = settings.keep_layers || keptByRule(layers);
    const tokens = loadTokenizers(tokenizers).clipLength;
    const vocabulary = await Tokenizer.fromFolder(tokenizers.clipL).size();
    const shared = { config, threads: Number(threads), tokens, vocabulary };
    const work: Workload = { part: 'reward', ...shared, settings, source, keepLayers };
    const [repeats, steps] = [Number(values.repeats), Number(values.steps)];
    const compared = await compareSteps(work, 'diffusers', { repeats, steps });
    const wait = await shortRun(data, Number(values['run-steps']), latents, threads);
    console.log(
      JSON.stringify({
        bench: 'train',
        model: `${dirname(config).replace(`${repository}/`, '')}, ${keepLayers} of ${layers} blocks`,
        batch: settings.batch,
        latents,
        dtype: settings.dtype,
        threads: Number(threads),
        steps: repeats * steps,
        ...machine(),
        ...compared,
        waiting_for_data: rounded(wait, 2),
      }),
    );
  }
}
