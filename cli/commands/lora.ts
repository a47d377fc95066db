import { DrmError } from '../../binding/error.js';
import type { Command } from '../common/command.js';

const WHAT = ['inspect', 'merge', 'convert'];

export const command: Command = {
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
  arguments: [
    { name: '<what>', description: 'what to do', choices: WHAT },
    {
      name: '<file...>',
      description: 'adapters: .safetensors, or a folder (of PEFT, diffusers, a run); merge: FILE:SCALE',
    },
  ],
  options: [
    { flags: '--model <model>', description: 'merge: the base; inspect: to match with; as in `drm sample`' },
    {
      flags: '--to <names>',
      description: 'convert: whose names to write; peft is a folder',
      choices: ['diffusers', 'peft', 'kohya'],
    },
    { flags: '--revision <name>', description: 'branch, tag or commit of a hub id' },
  ],
  makesFiles: ({ args }) => args[0] !== 'inspect',
  async run(context) {
    const [what] = context.args as [string];
    if (what === 'inspect') return (await import('./lora/inspect.js')).inspectLoras(context);
    if (what === 'merge') return (await import('./lora/merge.js')).mergeIntoBase(context);
    if (what === 'convert') return (await import('./lora/convert.js')).convertNames(context);
    throw new DrmError('USAGE', `lora ${what}: expected ${WHAT.join(', ')}`);
  },
};
