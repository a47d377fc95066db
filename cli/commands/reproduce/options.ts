// What can be asked of `drm reproduce`.
import type { ContextOf } from '../../common/command.js';
import type { Argument, Option } from '../../common/option.js';
import { ALL, TABLES } from '../../reproduce/tables/registry.js';

export const ARGUMENTS = [
  {
    name: '<what...>',
    description: 'tables and figures of the paper, or all of them',
    choices: [...TABLES.map(({ name }) => name), ALL],
  },
] as const satisfies readonly Argument[];

export const OPTIONS = [
  { flags: '--quick', description: 'the small config beside the one named: NAME-quick (under half an hour for tiny)' },
  { flags: '--plan', description: 'print every step with its state, time and disk, and what is missing; then exit' },
] as const satisfies readonly Option[];

export type ReproduceContext = ContextOf<typeof OPTIONS, typeof ARGUMENTS>;
