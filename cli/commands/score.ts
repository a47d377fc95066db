import type { Command } from '../common/command.js';

export const command: Command = {
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
  arguments: [{ name: '[image...]', description: 'JPEG, PNG, WebP, GIF, TIFF or AVIF' }],
  options: [
    {
      flags: '--reward <reward>',
      description: 'name, reward model, run, clip:FOLDER, or a sum such as 0.7*tiny+0.3*judge; may be repeated',
      repeatable: true,
    },
    { flags: '-p, --prompt <text>', description: 'what the images should show' },
    { flags: '--pairs <file>', description: 'JSON: a prompt and its images each, named relative to the file' },
    {
      flags: '--timestep <t>',
      description: 'reward models: 1000 x noise level to look at, or schedule:N, entry N of the scheduler',
      default: '0',
    },
    { flags: '--draws <n>', description: 'reward models: draws of noise, averaged, above timestep 0', default: '1' },
    { flags: '--posterior-sample', description: "draw latents from the VAE's posterior, not its mode" },
    { flags: '--size <pixels>', description: "reward models: side of the images (the model's own)" },
    {
      flags: '--protocol <name>',
      description: "drm-authors: as the authors' script looks at images; --timestep is then an entry",
      choices: ['drm-authors'],
    },
    { flags: '--seed <n>', description: 'of the noise', default: '0' },
    { flags: '--model <model>', description: 'the base, if not the one that the reward model names' },
  ],
  makesFiles: ({ global }) => global.out !== undefined,
  run: async (context) => (await import('./score/pictures.js')).scorePictures(context),
};
