// What the tests of `drm grpo` share: quick settings on the fixture's pipeline, prompts, the command here or in a process.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../../cli/commands/grpo.js';
import type { Event } from '../../cli/common/events.js';
import { fixture, type RunOptions, runDrm } from '../run_drm.js';
import { refusedHere, runHere } from './here.js';

/** A folder with lists of twelve prompts to train on and four held out. */
export function promptFolder(work: string, name = 'prompts'): string {
  const folder = join(work, name);
  mkdirSync(folder);
  const list = (what: string, n: number) => Array.from({ length: n }, (_, i) => `${what} number ${i}\n`).join('');
  writeFileSync(join(folder, 'train.txt'), list('a fox', 12));
  writeFileSync(join(folder, 'test.txt'), list('an owl', 4));
  return folder;
}

/** A config file of a run that takes seconds; learning rate and clip range are large, so that something is seen. */
export function quickConfig(
  work: string,
  reward: string,
  more: Record<string, unknown> = {},
  name = 'grpo.json',
): string {
  const file = join(work, name);
  const settings = {
    ...{ task: 'grpo', model: fixture, reward, prompts: join(work, 'prompts'), size: 32, t5_length: 8 },
    ...{ iterations: 6, prompts_per_iteration: 2, group: 4, k: 3, batch: 3, denoising_steps: 4, lora_rank: 4 },
    ...{ learning_rate: 0.01, clip_range: 0.001, ema_every: 1, evaluate_steps: 3, evaluate_samples: 4, seed: 5 },
    ...{ evaluate_every: 3, checkpoint_every: 2, keep_last: 4, dtype: 'fp32' },
  };
  writeFileSync(file, JSON.stringify({ ...settings, ...more }));
  return file;
}

/** The whole command line. */
export const grpo = (config: string, out: string, more: string[] = [], options: RunOptions = {}) =>
  runDrm(['grpo', '--config', config, '--threads', '1', '--out', out, '--json', ...more], options);

/** Runs the command line after `drm grpo` in the test's own process; returns its events. */
export const grpoHere = (argv: string[], onEvent?: (event: Event) => void) => runHere(command, argv, onEvent);

/** Expects it to fail with this exit code and all these words in its message. */
export const refuses = (
  argv: string[],
  code: number,
  words: (string | RegExp)[],
  onEvent?: (event: Event) => void,
): Promise<void> => refusedHere(command, argv, code, words, onEvent);

export const set = (...pairs: string[]) => pairs.flatMap((pair) => ['--set', pair]);

export const said = (events: Event[], kind: 'warning' | 'info') =>
  events.flatMap((event) => (event.event === kind ? [event.message] : []));
