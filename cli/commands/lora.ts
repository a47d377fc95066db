import { type CommandGroup, defineCommand } from '../common/command.js';
import {
  ADAPTERS,
  CONVERT_OPTIONS,
  INSPECT_OPTIONS,
  MERGE_OPTIONS,
  ONE_ADAPTER,
  SCALED_ADAPTERS,
} from './lora/options.js';

const inspect = defineCommand({
  name: 'inspect',
  summary: 'what adapters hold, and whether they fit a model',
  examples: [
    {
      command: 'drm lora inspect style.safetensors --model sd3.5-medium',
      does: 'targets, ranks, alphas and norms, and how many of its tensors match the model',
    },
    { command: 'drm lora inspect runs/grpo@40', does: 'the adapter of a run as it stood at a checkpoint' },
  ],
  arguments: ADAPTERS,
  options: INSPECT_OPTIONS,
  run: async (context) => (await import('./lora/inspect.js')).inspectLoras(context),
});

const merge = defineCommand({
  name: 'merge',
  summary: 'a base with adapters in its weights',
  examples: [
    {
      command: 'drm lora merge runs/grpo style.safetensors:0.6 --model tiny --out merged',
      does: 'a diffusers folder whose transformer has both in its weights, the second with strength 0.6',
    },
    { command: 'drm lora merge runs/flow@latest --model tiny --out merged', does: 'of a run that was stopped' },
  ],
  arguments: SCALED_ADAPTERS,
  options: MERGE_OPTIONS,
  makesFiles: () => true,
  run: async (context) => (await import('./lora/merge.js')).mergeIntoBase(context),
});

const convert = defineCommand({
  name: 'convert',
  summary: 'the same adapter under the names of diffusers, PEFT or kohya',
  examples: [
    {
      command: 'drm lora convert runs/grpo --to kohya --out style-kohya.safetensors',
      does: 'the same values under the names that ComfyUI and sd-scripts read',
    },
    { command: 'drm lora convert style.safetensors --to peft --out style-peft', does: "PEFT's folder" },
  ],
  arguments: ONE_ADAPTER,
  options: CONVERT_OPTIONS,
  makesFiles: () => true,
  run: async (context) => (await import('./lora/convert.js')).convertNames(context),
});

export const command: CommandGroup = {
  name: 'lora',
  summary: 'look into adapter files, merge them into a base, convert their names',
  examples: [inspect, merge, convert].flatMap(({ examples }) => examples.slice(0, 1)),
  subcommands: [inspect, merge, convert],
};
