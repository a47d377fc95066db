// What can be asked of `drm eval`.
import type { ContextOf } from '../../common/command.js';
import type { Argument, Option } from '../../common/option.js';
import { toNumber, toWhole } from '../../common/options.js';
import { COUNT_ELSEWHERE, GUIDANCE_ELSEWHERE, STEPS_ELSEWHERE } from '../../sample/elsewhere.js';

export const ARGUMENTS = [
  { name: '<what>', description: 'what to measure', choices: ['images', 'pairs', 'retrieval'] },
] as const satisfies readonly Argument[];

export const OPTIONS = [
  {
    flags: '--scorer <scorer>',
    description:
      'a scorer: judge, clip:FOLDER, pickscore … (docs/scorers.md), or (images, pairs) a reward model; may be repeated',
    repeatable: true,
  },
  {
    flags: '--model <model>',
    description: 'images: as in `drm sample` (tiny); pairs: the base, if not the one that a reward names',
  },
  {
    flags: '--lora <file>',
    description: 'images: FILE[:SCALE], an adapter, as in `drm sample`; may be repeated',
    repeatable: true,
  },
  { flags: '--prompts <file>', description: 'images: one prompt a line, or JSON' },
  { flags: '-p, --prompt <text>', description: 'images: one more prompt; may be repeated', repeatable: true },
  { flags: '--negative-prompt <text>', description: 'images: what to steer away from' },
  {
    flags: '--steps <n>',
    description: 'images: denoising steps',
    default: '28',
    aliases: STEPS_ELSEWHERE,
    parse: toNumber,
  },
  {
    flags: '--guidance <scale>',
    description: 'images: classifier-free guidance',
    default: '4.5',
    aliases: GUIDANCE_ELSEWHERE,
    parse: toNumber,
  },
  {
    flags: '--size <pixels>',
    description: "images: height and width; pairs: side of what reward models see (each model's own)",
    parse: toWhole(1),
  },
  {
    flags: '-n, --n <n>',
    description: 'images: images a prompt',
    default: '1',
    aliases: COUNT_ELSEWHERE,
    parse: toNumber,
  },
  { flags: '--k <list>', description: 'images: candidates a step, such as 1,2,4,6; a row each', default: '1' },
  {
    flags: '--noise-level <a>',
    description: 'images: of the candidates, as in `drm sample`',
    default: '0.7',
    parse: toNumber,
  },
  { flags: '--sde', description: 'images: noise at each step and no choice, as in `drm sample`' },
  { flags: '--select <rule>', description: 'images: argmax or softmax:T', default: 'argmax' },
  {
    flags: '--score-from <fraction>',
    description: 'images: of the steps, where choosing begins',
    default: '0',
    parse: toNumber,
  },
  { flags: '--score-until <fraction>', description: 'images: where it ends', default: '1', parse: toNumber },
  { flags: '--batch <n>', description: 'images: images a network call; 0 chooses', default: '0', parse: toNumber },
  {
    flags: '--sweep <key=a,b,c>',
    description: 'images: a row for each value of guidance, steps, k, reward, lora (or none) …; may be repeated',
    repeatable: true,
  },
  { flags: '--reference <dir>', description: 'images: prepared set whose real images are compared with' },
  {
    flags: '--diversity <distance>',
    description: 'images: how far those of a prompt are apart (--n): lpips, lpips-vgg, or either:FOLDER',
    default: 'features of a CLIP scorer',
  },
  {
    flags: '--grid',
    description: 'images: also a sheet of the first 64 of each row, and one of the rows side by side',
  },
  {
    flags: '--reward <reward>',
    description: 'pairs: the same as --scorer; may be repeated; images: what chooses for --k, as in `drm sample`',
    repeatable: true,
  },
  {
    flags: '--timesteps <list>',
    description: 'pairs: 1000 x noise levels (0,250,500,750), or schedule:0,500,750, entries of the scheduler',
    default: '0',
  },
  {
    flags: '--draws <n>',
    description: 'pairs: draws of noise, averaged, above timestep 0',
    default: '1',
    parse: toWhole(1),
  },
  { flags: '--posterior-sample', description: "pairs: draw latents from the VAE's posterior, not its mode" },
  { flags: '--max-pairs <n>', description: 'pairs: so many, chosen by seed', default: 'all', parse: toWhole(1) },
  { flags: '--scores <file>', description: 'pairs: judge these scores (JSON) instead of giving some' },
  {
    flags: '--from <path>',
    description: "pairs: the scores' list, or the folder of the sets' lists (default: beside)",
  },
  {
    flags: '--protocol <name>',
    description: 'pairs: how right answers are counted, or drm-authors: how images are scored; may be repeated',
    default: "each set's own",
    repeatable: true,
  },
  {
    flags: '--validation <dir[:split]>',
    description: 'pairs: where tie-aware finds its threshold; else in the same set',
  },
  {
    flags: '--no-images',
    description: 'pairs: do not look whether the images behind --scores can be used',
    aliases: ['--no-pictures'],
  },
  {
    flags: '--data <dir>',
    description: 'pairs, retrieval: a set prepared by `drm data prepare`; pairs: may be repeated',
    repeatable: true,
  },
  {
    flags: '--split <name>',
    description: 'pairs, retrieval: one split; may be repeated',
    default: 'all',
    repeatable: true,
  },
  { flags: '--among <n>', description: 'retrieval: captions to choose from', default: '256', parse: toWhole(2) },
  {
    flags: '--seed <n>',
    description:
      "images: added to each prompt's own, of its text; pairs: of noise, and of --max-pairs; retrieval: of groups",
    default: '0',
    parse: toWhole(0),
  },
  {
    flags: '--nproc <n>',
    description: 'images, pairs: processes on this machine that share the work',
    default: '1',
    parse: toWhole(1),
  },
] as const satisfies readonly Option[];

export type EvalContext = ContextOf<typeof OPTIONS, typeof ARGUMENTS>;
