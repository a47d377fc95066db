// `drm pretrain`: from settings to a run.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { TrainerOptions } from '../../binding/types.js';
import { CONFIG_FOLDER } from '../config/resolve.js';
import type { PretrainVaeSettings } from '../config/types.js';
import type { Events } from '../events.js';
import type { TrainingData, TrainingOptions, TrainingTask } from './loop.js';

export interface TaskContext {
  events: Events;
  signal: AbortSignal;
  device: string;
  dtype: 'fp32' | 'bf16';
}

/** A task with its data, ready for the loop. Only the two of them know what a batch is. */
export interface Prepared {
  task: TrainingTask<unknown>;
  data: TrainingData<unknown>;
  /** Worth saying at the start. */
  facts: Record<string, string | number>;
  /** Gives the model's memory and the set's files back. */
  close(): Promise<void>;
}

/** Settings of configs/schema/parts/training.json, which every training task has. */
export type TrainingSettings = Omit<
  PretrainVaeSettings,
  'task' | 'architecture' | 'weights' | 'size' | 'l1' | 'l2' | 'edges' | 'kl'
>;

/** The config file that a setting names: by itself, by its folder, or by a name below configs/. */
function configFile(setting: string, name: string, within: string, example: string): string {
  for (const path of [name, join(CONFIG_FOLDER, name)]) {
    if (!existsSync(path)) continue;
    const file = statSync(path).isDirectory() ? join(path, within) : path;
    if (existsSync(file)) return file;
  }
  throw new DrmError(
    'BAD_FILE',
    `[pretrain] ${setting}: expected a folder with ${within}, or one of drm's own such as ${example}, found ${existsSync(name) ? `a folder without it (${name})` : `no such folder (${name})`}; choose with --set ${setting}=DIR`,
    { key: setting, file: name },
  );
}

export const architectureFile = (name: string) => configFile('architecture', name, 'config.json', 'models/tiny/vae');
export const schedulerFile = (name: string) =>
  configFile('scheduler', name, 'scheduler_config.json', 'models/tiny/scheduler');

export function trainerOptions(s: TrainingSettings, device: string, dtype: 'fp32' | 'bf16'): TrainerOptions {
  return {
    device,
    dtype,
    seed: BigInt(s.seed),
    beta1: s.beta1,
    beta2: s.beta2,
    eps: s.eps,
    weightDecay: s.weight_decay,
    maxGradientNorm: s.max_gradient_norm,
    emaDecay: s.ema_decay,
  };
}

export function loopOptions(s: TrainingSettings, resumeCommand: string): TrainingOptions {
  return {
    steps: s.steps,
    rate: { peak: s.learning_rate, shape: s.schedule, warmUp: s.warm_up, floor: s.floor },
    logEvery: s.log_every,
    evaluateEvery: s.evaluate_every,
    previewEvery: s.preview_every,
    checkpointEvery: s.checkpoint_every,
    checkpointMinutes: s.checkpoint_minutes,
    keep: { last: s.keep_last, every: s.keep_every },
    skipNotFinite: s.skip_not_finite,
    resumeCommand,
  };
}

/** Settings that a resumed run may change: they do not reach the numbers, or only from here on. */
export const MAY_DIFFER = [
  'data',
  'steps',
  'device',
  'prefetch',
  'log_every',
  'evaluate_every',
  'evaluate_samples',
  'preview_every',
  'checkpoint_every',
  'checkpoint_minutes',
  'keep_last',
  'keep_every',
  'skip_not_finite',
  'export_dtype',
];
