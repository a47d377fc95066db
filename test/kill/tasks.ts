// What is killed: a command, where it writes, what must hold after each kill and at the end.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../cli/common/root.js';
import { openCheckpoint } from '../../cli/runs/checkpoints.js';
import { contentOf, pngOf, write, writeImages } from '../data/images.js';
import { COMMIT, TestHub } from '../hub/server.js';
import { checkpointNames } from '../killing.js';

export const drm = join(packageRoot, 'dist/cli/main.js');
const model = join(packageRoot, 'test/golden/pipeline');

export interface KillTask {
  /** What to type after `drm` to begin in this folder, or to go on with what is there. */
  argv(folder: string): string[];
  env?(folder: string): Record<string, string>;
  /** Where names come and go as it writes. */
  folders(folder: string): string[];
  /** Throws when a kill has cost what was safe before it. */
  afterKill(folder: string): Promise<void>;
  /** By name, what must be the same as without kills. */
  result(folder: string): Record<string, string>;
  close?(): Promise<void>;
}

export type KillTaskName = 'train' | 'pretrain' | 'grpo' | 'prepare' | 'pull';

function run(argv: string[], env: Record<string, string> = {}): void {
  const { status, stderr } = spawnSync(process.execPath, [drm, ...argv], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  if (status !== 0) throw new Error(`drm ${argv.join(' ')} ended with ${status}: ${stderr}`);
}

/** Names of what is left of files that were being written, or of locks. */
const strays = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /(^|\/)\.[^/]*\.([0-9a-f]{8}|partial|old|new)$|\.incomplete$|run\.lock/.test(name),
  );

const withoutStrays = (folder: string): Record<string, string> => ({ strays: strays(folder).join(' ') });

/** Figures of every step, without what belongs to the machine. */
const MACHINE = /^(samples_per_second|pairs_per_second|data_wait|memory_mb|.*_seconds)$/;
const figures = (folder: string): string =>
  readFileSync(join(folder, 'metrics.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; step: number; values: Record<string, number> })
    .filter(({ event }) => event === 'metric' || event === 'evaluation')
    .map(({ event, step, values }) =>
      JSON.stringify([event, step, Object.entries(values).filter(([name]) => !MACHINE.test(name))]),
    )
    .join('\n');

function training(command: string[], settings: object, work: string): KillTask {
  const config = join(work, `${command.join('-')}.json`);
  writeFileSync(config, JSON.stringify(settings));
  const newest = new Map<string, number>();
  return {
    argv: (folder) => [
      ...[...command, '--config', config, '--threads', '1', '--out', folder],
      // Killed before it had begun, there is nothing to resume.
      ...(existsSync(join(folder, 'config.json')) ? ['--resume'] : []),
    ],
    folders: (folder) => [folder, join(folder, 'checkpoints'), join(folder, 'model')],
    async afterKill(folder) {
      const steps = checkpointNames(folder)
        .filter((name) => /^\d+$/.test(name))
        .map(Number);
      const last = Math.max(-1, ...steps);
      if (last < (newest.get(folder) ?? -1))
        throw new Error(`checkpoint ${newest.get(folder)} is gone, ${last} is the last`);
      newest.set(folder, last);
      for (const step of steps) await openCheckpoint(join(folder, 'checkpoints', String(step)));
    },
    result(folder) {
      const weights = Object.entries(contentOf(join(folder, 'model'))).filter(([name]) =>
        name.endsWith('.safetensors'),
      );
      if (weights.length === 0) throw new Error(`${folder}: no weights`);
      const figuresHash = createHash('sha256').update(figures(folder)).digest('hex');
      return { ...Object.fromEntries(weights), figures: figuresHash, ...withoutStrays(folder) };
    },
  };
}

const QUICK = {
  ...{ model, size: 32, t5_length: 8, dtype: 'fp32', seed: 5, learning_rate: 0.003 },
  ...{ evaluate_every: 3, checkpoint_every: 1, keep_last: 2 },
};
const SUPERVISED = {
  ...QUICK,
  steps: 8,
  batch: 4,
  micro_batch: 2,
  log_every: 1,
  evaluate_samples: 4,
  export_dtype: 'fp32',
};

async function pairs(work: string): Promise<string> {
  const from = join(work, 'pairs');
  const lines = Array.from({ length: 24 }, (_, i) =>
    JSON.stringify({ prompt: `image ${i}`, chosen: `${2 * i}.png`, rejected: `${2 * i + 1}.png` }),
  );
  for (let i = 0; i < 48; i++) write(from, { [`${i}.png`]: await pngOf(i) });
  write(from, { 'pairs.jsonl': `${lines.join('\n')}\n` });
  const set = join(work, 'pair-set');
  if (!existsSync(set))
    run(['data', 'prepare', 'jsonl', '--from', join(from, 'pairs.jsonl'), '--hold-out', '25', '--out', set]);
  return set;
}

const rewardTraining = async (work: string): Promise<KillTask> => {
  const head = { head_channels: 8, head_groups: 4, head_hidden: 16 };
  return training(['train'], { task: 'train', ...SUPERVISED, ...head, data: await pairs(work) }, work);
};

export const TASKS: Record<KillTaskName, (work: string) => Promise<KillTask>> = {
  train: rewardTraining,

  async pretrain(work) {
    const from = join(await writeImages(join(work, 'images'), 24), 'captions.jsonl');
    const data = join(work, 'set');
    run(['data', 'prepare', 'jsonl', '--from', from, '--out', data, '--hold-out', '25']);
    return training(['pretrain', 'flow'], { task: 'pretrain_flow', ...SUPERVISED, data }, work);
  },

  async grpo(work) {
    const reward = join(work, 'reward');
    run((await rewardTraining(work)).argv(reward));
    const list = (what: string) => Array.from({ length: 6 }, (_, i) => `${what} number ${i}\n`).join('');
    const prompts = write(join(work, 'prompts'), { 'train.txt': list('a fox'), 'test.txt': list('an owl') });
    const settings = {
      ...{ task: 'grpo', algorithm: 'step', ...QUICK, reward, prompts, iterations: 5, prompts_per_iteration: 2, k: 3 },
      ...{ batch: 3, denoising_steps: 3, lora_rank: 4, ema_every: 1, evaluate_steps: 2, evaluate_samples: 2 },
    };
    return training(['grpo'], settings, work);
  },

  async prepare(work) {
    const from = await writeImages(join(work, 'many'), 160);
    const lines = readFileSync(join(from, 'captions.jsonl'), 'utf8').trim().split('\n');
    // Some come to nothing, so that their counts have to survive, too: in the middle of a shard, about its end, at the last.
    for (let i = 5; i < lines.length; i += 9) lines[i] = `{"image": "gone-${i}.png", "caption": "gone ${i}"}`;
    for (let i = 7; i < lines.length; i += 20) lines[i] = '{"image": "images/1.png"}';
    lines.push('{"image": "the last is a drop.png", "caption": "image 0"}');
    write(from, { 'captions.jsonl': `${lines.join('\n')}\n` });
    const limits = ['--size', '24', '--shard-samples', '10', '--hold-out', '20'];
    return {
      argv: (folder) => ['data', 'prepare', 'jsonl', '--from', from, '--out', folder, ...limits],
      folders: (folder) => [folder],
      async afterKill() {},
      result: (folder) => ({ ...contentOf(folder), ...withoutStrays(folder) }),
    };
  },

  async pull(work) {
    const bytes = (size: number, seed: number) => Buffer.alloc(size, createHash('sha256').update(`${seed}`).digest());
    const hub = await TestHub.start({
      'model_index.json': { content: Buffer.from('{"_class_name": "StableDiffusion3Pipeline"}') },
      'transformer/config.json': { content: Buffer.from('{}') },
      'transformer/diffusion_pytorch_model.safetensors': { content: bytes(120_000, 1), lfs: true },
      'vae/config.json': { content: Buffer.from('{ }') },
      'vae/diffusion_pytorch_model.safetensors': { content: bytes(60_000, 2), lfs: true },
    });
    hub.behaviour.slow = 2;
    mkdirSync(work, { recursive: true });
    const repo = (folder: string) => join(folder, 'hub/models--org--model');
    return {
      argv: () => ['pull', 'org/model'],
      env: (folder) => ({ HF_HOME: folder, HF_ENDPOINT: hub.url, HF_TOKEN: '' }),
      folders: (folder) =>
        ['blobs', 'refs', `snapshots/${COMMIT}`, `snapshots/${COMMIT}/transformer`].map((name) =>
          join(repo(folder), name),
        ),
      async afterKill() {},
      result: (folder) => ({ ...contentOf(repo(folder)), ...withoutStrays(repo(folder)) }),
      close: () => hub.stop(),
    };
  },
};
