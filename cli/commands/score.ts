import { defineCommand } from '../common/command.js';
import { ARGUMENTS, OPTIONS } from './score/options.js';

export const command = defineCommand({
  name: 'score',
  summary: 'score images under their prompts by a reward model or a scorer',
  examples: [
    { command: 'drm score --reward tiny --prompt "red apple, noto style" a.png b.png', does: 'a number an image' },
    {
      command: 'drm score --reward drm:runs/drm --timestep 500 --draws 8 --prompt "a red fox" a.png b.png',
      does: 'how the reward model sees them half way through sampling, averaged over eight draws of noise',
    },
    {
      command: 'drm score --reward tiny --reward judge --pairs pairs.jsonl --json',
      does: 'lines with prompt and image, images, or chosen and rejected; for lists of thousands: drm eval pairs',
    },
  ],
  arguments: ARGUMENTS,
  options: OPTIONS,
  makesFiles: ({ global }) => global.out !== undefined,
  run: async (context) => (await import('./score/images.js')).scoreFiles(context),
});
