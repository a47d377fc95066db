import type { Command } from '../common/command.js';

export const command: Command = {
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
    { command: 'drm pull MizzenAI/HPDv3 --repo-type dataset --dry-run', does: 'lists files and sizes only' },
  ],
  arguments: [{ name: '<id>', description: 'org/name on the hub' }],
  options: [
    { flags: '--revision <name>', description: 'branch, tag or commit', default: 'main' },
    { flags: '--include <glob>', description: 'only these files; may be repeated', repeatable: true },
    { flags: '--exclude <glob>', description: 'not these files; may be repeated', repeatable: true },
    { flags: '--repo-type <type>', description: 'what the id names', choices: ['model', 'dataset'], default: 'model' },
    { flags: '--dry-run', description: 'list what would be fetched' },
  ],
  makesFiles: () => true,
  run: async (context) => (await import('./pull/fetch.js')).pull(context),
};
