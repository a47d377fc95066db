import type { Option, OptionsOf } from '../common/option.js';
import { toWhole } from '../common/options.js';

/** Of every command that trains. */
export const PARALLEL_OPTIONS = [
  {
    flags: '--nproc <n>',
    description: 'processes on this machine, each with its part of every batch',
    default: '1',
    parse: toWhole(1),
  },
] as const satisfies readonly Option[];

export type ParallelOptions = OptionsOf<typeof PARALLEL_OPTIONS>;
