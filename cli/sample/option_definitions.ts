// Options that `drm sample` and `drm eval images` both have. What other tools call them works, too, and is not shown in help.
import type { Option } from '../common/option.js';
import { toNumber } from '../common/options.js';

export const NEGATIVE_PROMPT = {
  flags: '--negative-prompt <text>',
  description: 'what to steer away from',
} as const satisfies Option;

export const STEPS = {
  flags: '--steps <n>',
  description: 'denoising steps',
  default: "the model's own, else 28",
  aliases: ['--num-inference-steps <n>', '--sampling-steps <n>'], // diffusers; ComfyUI and A1111 say steps as we do
  parse: toNumber,
} as const satisfies Option;

export const GUIDANCE = {
  flags: '--guidance <scale>',
  description: 'classifier-free guidance; off at 1 and below',
  default: "the model's own, else 4.5",
  aliases: ['--guidance-scale <scale>', '--cfg-scale <scale>', '--cfg <scale>'], // diffusers; A1111
  parse: toNumber,
} as const satisfies Option;

export const COUNT = {
  flags: '-n, --n <n>',
  description: 'images a prompt',
  default: '1',
  aliases: ['--num-images-per-prompt <n>', '--num-images <n>'], // diffusers; its scripts
  parse: toNumber,
} as const satisfies Option;

export const BATCH = {
  flags: '--batch <n>',
  description: 'images a network call; 0 chooses',
  default: '0',
  parse: toNumber,
} as const satisfies Option;

export const SDE = {
  flags: '--sde',
  description: "one candidate's noise at each step, and no choice (--k 1)",
} as const satisfies Option;

/** How candidates come about and are chosen, beside --k and --reward. */
export const CHOICE = [
  { flags: '--noise-level <a>', description: 'of the candidates (a in Eq. 6)', default: '0.7', parse: toNumber },
  { flags: '--select <rule>', description: 'argmax, or softmax:T to draw at temperature T', default: 'argmax' },
  {
    flags: '--score-from <fraction>',
    description: 'of the steps, where choosing begins',
    default: '0',
    parse: toNumber,
  },
  {
    flags: '--score-until <fraction>',
    description: 'where it ends; Euler steps outside',
    default: '1',
    parse: toNumber,
  },
] as const satisfies readonly Option[];
