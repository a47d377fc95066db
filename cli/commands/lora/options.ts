// What can be asked of `drm lora`, by subcommand.
import type { ContextOf } from '../../common/command.js';
import type { Argument, Option } from '../../common/option.js';

const ADAPTER = 'a .safetensors file, a folder (of PEFT, diffusers, a run), RUN@STEP, or a hub id in the cache';

export const ADAPTERS = [
  { name: '<file...>', description: `adapters: each ${ADAPTER}` },
] as const satisfies readonly Argument[];

export const SCALED_ADAPTERS = [
  { name: '<file...>', description: `adapters, FILE or FILE:SCALE: each ${ADAPTER}` },
] as const satisfies readonly Argument[];

export const ONE_ADAPTER = [
  { name: '<file>', description: `the adapter: ${ADAPTER}` },
] as const satisfies readonly Argument[];

const REVISION = {
  flags: '--revision <name>',
  description: 'branch, tag or commit of a hub id',
} as const satisfies Option;

export const INSPECT_OPTIONS = [
  { flags: '--model <model>', description: 'the base to match with; as in `drm sample`' },
  REVISION,
] as const satisfies readonly Option[];

export const MERGE_OPTIONS = [
  { flags: '--model <model>', description: 'the base to merge into; as in `drm sample`' },
  REVISION,
] as const satisfies readonly Option[];

export const CONVERT_OPTIONS = [
  {
    flags: '--to <names>',
    description: 'whose names to write; peft is a folder',
    choices: ['diffusers', 'peft', 'kohya'],
  },
] as const satisfies readonly Option[];

export type InspectContext = ContextOf<typeof INSPECT_OPTIONS, typeof ADAPTERS>;
export type MergeContext = ContextOf<typeof MERGE_OPTIONS, typeof SCALED_ADAPTERS>;
export type ConvertContext = ContextOf<typeof CONVERT_OPTIONS, typeof ONE_ADAPTER>;
