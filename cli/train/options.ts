// Options of every command that trains in a run folder.
import type { Option, OptionsOf } from '../common/option.js';
import { toNumber } from '../common/options.js';
import { PARALLEL_OPTIONS } from '../parallel/options.js';

export const LEARNING_RATE = {
  flags: '--learning-rate <rate>',
  description: 'peak of the schedule',
  parse: toNumber,
} as const satisfies Option;

export const RUN_OPTIONS = [
  { flags: '--resume', description: 'go on with the run in --out, with its own settings' },
  ...PARALLEL_OPTIONS,
] as const satisfies readonly Option[];

export type RunOptions = OptionsOf<typeof RUN_OPTIONS>;
