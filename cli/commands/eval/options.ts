// What can be asked of `drm eval`, by subcommand.
import type { ContextOf } from '../../common/command.js';
import { grouped, type Option } from '../../common/option.js';
import { toWhole } from '../../common/options.js';
import { BATCH, CHOICE, COUNT, GUIDANCE, NEGATIVE_PROMPT, SDE, STEPS } from '../../sample/option_definitions.js';

const NPROC = {
  flags: '--nproc <n>',
  description: 'processes on this machine that share the work',
  default: '1',
  parse: toWhole(1),
} as const satisfies Option;

const SPLIT = {
  flags: '--split <name>',
  description: 'one split; may be repeated',
  default: 'all',
  repeatable: true,
} as const satisfies Option;

export const IMAGES_OPTIONS = [
  ...grouped('What is judged, and by whom:', [
    { flags: '--model <model>', description: 'as in `drm sample`', default: 'tiny' },
    {
      flags: '--lora <file>',
      description: 'FILE[:SCALE], an adapter, as in `drm sample`; may be repeated',
      repeatable: true,
    },
    { flags: '--prompts <file>', description: 'one prompt a line, or JSON; - is standard input' },
    { flags: '-p, --prompt <text>', description: 'one more prompt; may be repeated', repeatable: true },
    {
      flags: '--scorer <scorer>',
      description: 'judge, clip:FOLDER, pickscore … (`drm list scorers`), or a reward model; may be repeated',
      repeatable: true,
    },
    { flags: '--reference <dir>', description: 'prepared set whose real images are compared with' },
    {
      flags: '--diversity <distance>',
      description: 'how far images of a prompt are apart (--n): lpips, lpips-vgg, or either:FOLDER',
      default: 'features of a CLIP scorer',
    },
    {
      flags: '--sweep <key=a,b,c>',
      description: 'a row for each value of guidance, steps, k, reward, lora (or none) …; may be repeated',
      repeatable: true,
    },
    { flags: '--grid', description: 'also a sheet of the first 64 of each row, and one of the rows side by side' },
  ]),
  ...grouped('Sampling:', [
    NEGATIVE_PROMPT,
    STEPS,
    GUIDANCE,
    { flags: '--size <pixels>', description: 'height and width', parse: toWhole(1) },
    COUNT,
    { flags: '--seed <n>', description: "added to each prompt's own, of its text", default: '0', parse: toWhole(0) },
    BATCH,
    NPROC,
  ]),
  ...grouped('Candidates, chosen by a reward:', [
    { flags: '--k <list>', description: 'candidates a step, such as 1,2,4,6; a row each', default: '1' },
    { flags: '--reward <reward>', description: 'what chooses for --k, as in `drm sample`', repeatable: true },
    SDE,
    ...CHOICE,
  ]),
] as const satisfies readonly Option[];

export const PAIRS_OPTIONS = [
  ...grouped('What is judged, and by whom:', [
    { flags: '--data <dir>', description: 'a set prepared by `drm data prepare`; may be repeated', repeatable: true },
    SPLIT,
    { flags: '--max-pairs <n>', description: 'so many, chosen by seed', default: 'all', parse: toWhole(1) },
    {
      flags: '--reward <reward>',
      description: 'a reward model or scorer (`drm list rewards`); may be repeated',
      repeatable: true,
    },
    { flags: '--scorer <scorer>', description: 'the same as --reward; may be repeated', repeatable: true },
    { flags: '--model <model>', description: 'the base, if not the one that a reward names' },
  ]),
  ...grouped('What reward models see:', [
    {
      flags: '--timesteps <list>',
      description: '1000 x noise levels (0,250,500,750), or schedule:0,500,750, entries of the scheduler',
      default: '0',
    },
    {
      flags: '--draws <n>',
      description: 'draws of noise, averaged, above timestep 0',
      default: '1',
      parse: toWhole(1),
    },
    { flags: '--seed <n>', description: 'of noise, and of --max-pairs', default: '0', parse: toWhole(0) },
    { flags: '--size <pixels>', description: "side of the images (each model's own)", parse: toWhole(1) },
    { flags: '--posterior-sample', description: "draw latents from the VAE's posterior, not its mode" },
  ]),
  ...grouped('Counting:', [
    {
      flags: '--protocol <name>',
      description: 'how right answers are counted, or drm-authors: how images are scored; may be repeated',
      default: "each set's own",
      repeatable: true,
    },
    { flags: '--validation <dir[:split]>', description: 'where tie-aware finds its threshold; else in the same set' },
    NPROC,
  ]),
  ...grouped('Scores that were given elsewhere:', [
    { flags: '--scores <file>', description: 'judge these scores (JSON) instead of giving some' },
    { flags: '--from <path>', description: "the scores' list, or the folder of the sets' lists (default: beside)" },
    {
      flags: '--no-images',
      description: 'do not look whether the images behind --scores can be used',
      aliases: ['--no-pictures'],
    },
  ]),
] as const satisfies readonly Option[];

export const RETRIEVAL_OPTIONS = [
  { flags: '--data <dir>', description: 'a set prepared by `drm data prepare`', repeatable: true },
  SPLIT,
  { flags: '--scorer <scorer>', description: 'a CLIP: judge, clip:FOLDER …; may be repeated', repeatable: true },
  { flags: '--among <n>', description: 'captions to choose from', default: '256', parse: toWhole(2) },
  { flags: '--seed <n>', description: 'of the groups', default: '0', parse: toWhole(0) },
] as const satisfies readonly Option[];

export type ImagesContext = ContextOf<typeof IMAGES_OPTIONS>;
export type PairsContext = ContextOf<typeof PAIRS_OPTIONS>;
export type RetrievalContext = ContextOf<typeof RETRIEVAL_OPTIONS>;
