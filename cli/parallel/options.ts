import type { Option } from '../common/command.js';

/** Of every command that trains. */
export const PARALLEL_OPTIONS: Option[] = [
  { flags: '--nproc <n>', description: 'processes on this machine, each with its part of every batch', default: '1' },
];
