// What can be asked of `drm score`.
import type { ContextOf } from '../../common/command.js';
import type { Argument, Option } from '../../common/option.js';
import { toWhole } from '../../common/options.js';

export const ARGUMENTS = [
  { name: '[image...]', description: 'JPEG, PNG, WebP, GIF, TIFF or AVIF' },
] as const satisfies readonly Argument[];

export const OPTIONS = [
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
  {
    flags: '--draws <n>',
    description: 'reward models: draws of noise, averaged, above timestep 0',
    default: '1',
    parse: toWhole(1),
  },
  { flags: '--posterior-sample', description: "draw latents from the VAE's posterior, not its mode" },
  { flags: '--size <pixels>', description: "reward models: side of the images (the model's own)", parse: toWhole(1) },
  {
    flags: '--protocol <name>',
    description: "drm-authors: as the authors' script looks at images; --timestep is then an entry",
    choices: ['drm-authors'],
  },
  { flags: '--seed <n>', description: 'of the noise', default: '0', parse: toWhole(0) },
  { flags: '--model <model>', description: 'the base, if not the one that the reward model names' },
] as const satisfies readonly Option[];

export type ScoreContext = ContextOf<typeof OPTIONS, typeof ARGUMENTS>;
