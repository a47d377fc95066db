// What can be asked of `drm report`.
import type { ContextOf } from '../../common/command.js';
import type { Argument } from '../../common/option.js';

export const ARGUMENTS = [
  { name: '<run...>', description: 'run folders, as drm pretrain, train and grpo write them' },
] as const satisfies readonly Argument[];

export type ReportContext = ContextOf<readonly [], typeof ARGUMENTS>;
