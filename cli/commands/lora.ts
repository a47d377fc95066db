import { defineCommand } from '../common/command.js';
import { ARGUMENTS, OPTIONS } from './lora/options.js';

export const command = defineCommand({
  name: 'lora',
  summary: 'look into adapter files, merge them into a base, convert their names',
  examples: [
    {
      command: 'drm lora inspect style.safetensors --model sd3.5-medium',
      does: 'targets, ranks, alphas and norms, and how many of its tensors match the model',
    },
    {
      command: 'drm lora merge runs/grpo style.safetensors:0.6 --model tiny --out merged',
      does: 'a diffusers folder whose transformer has both in its weights, the second with strength 0.6',
    },
    {
      command: 'drm lora convert runs/grpo --to kohya --out style-kohya.safetensors',
      does: 'the same values under the names that ComfyUI and sd-scripts read',
    },
  ],
  arguments: ARGUMENTS,
  options: OPTIONS,
  makesFiles: ({ args }) => args[0] !== 'inspect',
  async run(context) {
    switch (context.args[0]) {
      case 'inspect':
        return (await import('./lora/inspect.js')).inspectLoras(context);
      case 'merge':
        return (await import('./lora/merge.js')).mergeIntoBase(context);
      case 'convert':
        return (await import('./lora/convert.js')).convertNames(context);
    }
  },
});
