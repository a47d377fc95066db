import { defineCommand } from '../common/command.js';
import { ARGUMENTS, OPTIONS } from './pull/options.js';

export const command = defineCommand({
  name: 'pull',
  summary: 'fetch a model or data set from the Hugging Face hub into the shared cache',
  examples: [
    {
      command: 'drm pull stabilityai/stable-diffusion-3.5-medium',
      does: 'all that sampling needs; run it again to go on after a break',
    },
    {
      command: "drm pull stabilityai/stable-diffusion-3.5-medium --exclude 'text_encoder_3/*'",
      does: 'without T5, which saves some 9.5 GB',
    },
    { command: 'drm pull pickscore', does: 'the files of a published scorer, from where its own code takes them' },
    { command: 'drm pull MizzenAI/HPDv3 --repo-type dataset --dry-run', does: 'lists files and sizes only' },
  ],
  arguments: ARGUMENTS,
  options: OPTIONS,
  makesFiles: () => true,
  run: async (context) => (await import('./pull/fetch.js')).pull(context),
});
