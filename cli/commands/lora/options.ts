// What can be asked of `drm lora`.
import type { ContextOf } from '../../common/command.js';
import type { Argument, Option } from '../../common/option.js';

export const ARGUMENTS = [
  { name: '<what>', description: 'what to do', choices: ['inspect', 'merge', 'convert'] },
  {
    name: '<file...>',
    description: 'adapters: .safetensors, or a folder (of PEFT, diffusers, a run); merge: FILE:SCALE',
  },
] as const satisfies readonly Argument[];

export const OPTIONS = [
  { flags: '--model <model>', description: 'merge: the base; inspect: to match with; as in `drm sample`' },
  {
    flags: '--to <names>',
    description: 'convert: whose names to write; peft is a folder',
    choices: ['diffusers', 'peft', 'kohya'],
  },
  { flags: '--revision <name>', description: 'branch, tag or commit of a hub id' },
] as const satisfies readonly Option[];

export type LoraContext = ContextOf<typeof OPTIONS, typeof ARGUMENTS>;
