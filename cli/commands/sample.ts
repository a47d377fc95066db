import { defineCommand } from '../common/command.js';
import { ARGUMENTS, OPTIONS } from './sample/options.js';

export const command = defineCommand({
  name: 'sample',
  summary: 'sample images from prompts',
  examples: [
    { command: 'drm sample "a red apple" -n 4 --grid', does: 'four images and a sheet of them in out/' },
    {
      command: 'drm sample --model sd3.5-medium --prompts prompts.txt --size 512 --steps 50 --out images',
      does: 'one image a line of the file',
    },
    {
      command: 'drm sample --prompt "a red fox" --k 6 --reward tiny --trace',
      does: 'at each step the best of 6 candidates by a reward model, and a sheet of all of them',
    },
    {
      command: 'drm sample --prompt "a red fox" --lora runs/grpo --lora style.safetensors:0.6',
      does: 'with two adapters, the second at strength 0.6',
    },
    { command: 'drm sample --from out/0-a-red-fox.png --steps 50', does: 'the same image again, with more steps' },
  ],
  arguments: ARGUMENTS,
  options: OPTIONS,
  tasks: ['sample'],
  makesFiles: () => true,
  // Loaded when it runs: `drm sample --help` needs no addon.
  run: async (context) => (await import('./sample/images.js')).sampleImages(context),
});
