// `drm sample --k K` against a straightforward PyTorch script of the same two models, and against K = 1; where the time
// goes.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { drm, machine, median, python, pythonHas, repository, rounded, timed } from './common.js';
import { prepareModel, SIZES } from './sample.js';

const TINY = { folder: join(repository, 'models/tiny'), reward: join(repository, 'models/tiny-drm') };

/** Random weights with the paper's share of blocks (21 of 24) and the paper's head, or the embedded model's small one. */
function prepareReward(model: string, name: string, dtype: string): string {
  const backbone = JSON.parse(readFileSync(join(model, 'transformer/config.json'), 'utf8')) as { num_layers: number };
  const large = name === 'medium' || name === 'full';
  const config = {
    _class_name: 'DiffusionRewardModel',
    backbone,
    keep_layers: Math.round((backbone.num_layers * 21) / 24),
    head: large ? { channels: 256, groups: 32, hidden: 512 } : { channels: 64, groups: 8, hidden: 128 },
    t5_length: name === 'tiny' ? 0 : 256,
    size: 512,
  };
  const text = JSON.stringify(config, null, 2);
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 8);
  const folder = join(repository, 'build/bench', `reward-${name}-${dtype}-${hash}`);
  if (existsSync(join(folder, 'model.safetensors'))) return folder;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), text);
  execFileSync(join(repository, 'build/core/drm_random_model'), [folder, dtype], { stdio: 'inherit' });
  return folder;
}

interface Run {
  /** Making the images: prompts, steps, decoding; without loading. */
  seconds_per_image: number;
  denoise_s: number;
  peak_mb: number;
  /** Shares of denoising, where a CPU tells. */
  policy?: number;
  reward?: number;
  branch?: number;
}

type Facts = Record<string, number>;

export async function stepwise(): Promise<void> {
  const { values } = parseArgs({
    allowPositionals: true,
    options: {
      k: { type: 'string', default: '6' },
      model: { type: 'string', default: 'tiny' },
      reward: { type: 'string' },
      n: { type: 'string' },
      repeats: { type: 'string', default: '3' },
      threads: { type: 'string' },
      steps: { type: 'string' },
      device: { type: 'string', default: 'cpu' },
      dtype: { type: 'string', default: 'fp32' },
    },
  });
  const name = values.model;
  const size = name === 'tiny' ? { height: 64, width: 64, steps: 50 } : SIZES[name as keyof typeof SIZES];
  if (!size) throw new Error(`--model: expected tiny, small, medium or full, found ${name}`);
  const model = name === 'tiny' ? TINY.folder : prepareModel(name as keyof typeof SIZES, values.dtype);
  const own = name === 'tiny' && existsSync(TINY.reward) ? TINY.reward : undefined;
  const reward = values.reward ?? own ?? prepareReward(model, name, values.dtype);
  const n = Number(values.n ?? (name === 'tiny' || name === 'small' ? 8 : 1));
  const settings = {
    steps: values.steps ?? String(size.steps),
    height: String(size.height),
    width: String(size.width),
    guidance: '4.5',
    seed: '1',
    n: String(n),
    threads: values.threads ?? String(availableParallelism()),
    device: values.device,
    dtype: values.dtype,
  };
  const flags = [
    ...['--prompt', 'a red fox', '--model', model],
    ...Object.entries(settings).flatMap(([key, value]) => [`--${key}`, value]),
    ...(name === 'tiny' ? ['--t5-length', '0'] : []),
  ];
  const hasPython = pythonHas('diffusers');
  const scratch = mkdtempSync(join(tmpdir(), 'drm-bench-'));

  const ours = async (k: string): Promise<Run> => {
    const out = join(scratch, `k${k}`);
    const args = ['sample', ...flags, '--k', k, '--reward', reward, '--json', '--out', out];
    const run = await timed(process.execPath, [drm, ...args]);
    rmSync(out, { recursive: true });
    const done = run.stdout.split('\n').find((line) => line.includes('"event":"done"'));
    const f = (JSON.parse(done ?? '{}') as { facts: Facts }).facts;
    const seconds = (key: string) => f[key] ?? Number.NaN;
    const denoise = seconds('denoise_seconds');
    return {
      seconds_per_image: (seconds('encode_seconds') + denoise + seconds('decode_seconds')) / n,
      denoise_s: denoise,
      peak_mb: run.peakMb,
      ...(f.reward_seconds !== undefined && {
        policy: seconds('policy_seconds') / denoise,
        reward: seconds('reward_seconds') / denoise,
        branch: seconds('branch_seconds') / denoise,
      }),
    };
  };
  const theirs = async (k: string): Promise<Run> => {
    const script = join(repository, 'test/bench/python/stepwise_torch.py');
    const run = await timed(python, [script, ...flags, '--k', k, '--reward', reward]);
    return { ...(JSON.parse(run.stdout.trim().split('\n').at(-1) ?? '{}') as Run), peak_mb: run.peakMb };
  };
  // In turns, so that a busy machine is as busy for all.
  const runs: Record<'plain' | 'ours' | 'theirs', Run[]> = { plain: [], ours: [], theirs: [] };
  for (let i = 0; i < Number(values.repeats); i++) {
    runs.plain.push(await ours('1'));
    runs.ours.push(await ours(values.k));
    if (hasPython) runs.theirs.push(await theirs(values.k));
  }
  rmSync(scratch, { recursive: true });
  const of = (side: keyof typeof runs, key: keyof Run, digits = 4) =>
    rounded(median(runs[side].map((run) => run[key] ?? Number.NaN)), digits);
  const mine = of('ours', 'seconds_per_image');
  const shares = runs.ours[0]?.reward !== undefined && {
    policy: of('ours', 'policy', 3),
    reward: of('ours', 'reward', 3),
    branch: of('ours', 'branch', 3),
    overhead: rounded(
      median(runs.ours.map(({ policy = 0, reward = 0, branch = 0 }) => 1 - policy - reward - branch)),
      3,
    ),
  };
  console.log(
    JSON.stringify({
      bench: 'stepwise',
      model: name,
      k: Number(values.k),
      ...settings,
      repeats: Number(values.repeats),
      ...machine(),
      seconds_per_image: {
        drm: mine,
        drm_k1: of('plain', 'seconds_per_image'),
        over_k1: rounded(
          median(runs.ours.map((run, i) => run.seconds_per_image / (runs.plain[i]?.seconds_per_image ?? Number.NaN))),
          3,
        ),
        ...(hasPython && {
          pytorch: of('theirs', 'seconds_per_image'),
          ratio: rounded(of('theirs', 'seconds_per_image') / mine, 3),
        }),
      },
      ...(shares && { shares_of_denoising: shares }),
      peak_mb: { drm: of('ours', 'peak_mb'), ...(hasPython && { pytorch: of('theirs', 'peak_mb') }) },
    }),
  );
}
