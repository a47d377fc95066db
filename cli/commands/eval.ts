import { DrmError } from '../../binding/error.js';
import type { Command } from '../common/command.js';

const WHAT = ['images', 'pairs', 'retrieval'];

export const command: Command = {
  name: 'eval',
  summary: 'measure models by scorers, and rewards by preferences or real images',
  examples: [
    {
      command:
        'drm eval images --model tiny --prompts data/emoji/prompts/train.txt --scorer judge --reference data/emoji',
      does: "images of 256 captions: how often they are told apart, how far they are from the set's",
    },
    {
      command: 'drm eval images --model tiny --prompts prompts.txt --scorer judge --sweep guidance=1,2,3,4,5',
      does: 'a row for each guidance scale; images that are there already are not made again',
    },
    {
      command: 'drm eval images --prompts prompts.txt --k 1,2,4,6 --reward tiny --scorer judge --n 4 --grid',
      does: 'what step-wise sampling gains: differences to k = 1 on the same seeds, diversity, the price',
    },
    {
      command: 'drm eval images --prompts prompts.txt --sweep lora=none,runs/flow,runs/step --scorer judge',
      does: 'the base beside what two trainings made of it',
    },
    {
      command: 'drm eval pairs --data data/prefs --split test --reward tiny --reward judge --timesteps 0,250,500,750',
      does: 'how often rewards prefer what people preferred, by timestep and kind of pair, as a table and a plot',
    },
    {
      command: 'drm eval pairs --data data/hpdv3 --data data/hpdv2 --split test --reward runs/reward --nproc 4',
      does: 'several sets in one table, on four GPUs',
    },
    {
      command: 'drm eval pairs --scores scores.json --from hpdv3/test.json',
      does: "accuracy of scores that any program gave, in the list's order; more forms: docs/evaluation.md",
    },
    {
      command: 'drm eval retrieval --data data/emoji --split test-style --scorer judge',
      does: 'how often a CLIP finds the right caption of real images among 256',
    },
  ],
  arguments: [{ name: '<what>', description: 'what to measure', choices: WHAT }],
  options: [
    {
      flags: '--scorer <scorer>',
      description: 'images, retrieval: judge, clip:FOLDER, or (images) a reward model; may be repeated',
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
    { flags: '--steps <n>', description: 'images: denoising steps', default: '28' },
    { flags: '--guidance <scale>', description: 'images: classifier-free guidance', default: '4.5' },
    {
      flags: '--size <pixels>',
      description: "images: height and width; pairs: side of what reward models see (each model's own)",
    },
    { flags: '--n <n>', description: 'images: images a prompt', default: '1' },
    { flags: '--k <list>', description: 'images: candidates a step, such as 1,2,4,6; a row each', default: '1' },
    { flags: '--noise-level <a>', description: 'images: of the candidates, as in `drm sample`', default: '0.7' },
    { flags: '--select <rule>', description: 'images: argmax or softmax:T', default: 'argmax' },
    { flags: '--score-from <fraction>', description: 'images: of the steps, where choosing begins', default: '0' },
    { flags: '--score-until <fraction>', description: 'images: where it ends', default: '1' },
    { flags: '--batch <n>', description: 'images: images a network call; 0 chooses', default: '0' },
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
      description: 'pairs: name, reward model, run, or clip:FOLDER; may be repeated; images: what chooses for --k',
      repeatable: true,
    },
    {
      flags: '--timesteps <list>',
      description: 'pairs: 1000 x noise levels (0,250,500,750), or schedule:0,500,750, entries of the scheduler',
      default: '0',
    },
    { flags: '--draws <n>', description: 'pairs: draws of noise, averaged, above timestep 0', default: '1' },
    { flags: '--posterior-sample', description: "pairs: draw latents from the VAE's posterior, not its mode" },
    { flags: '--max-pairs <n>', description: 'pairs: so many, chosen by seed', default: 'all' },
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
      formerly: '--no-pictures',
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
    { flags: '--among <n>', description: 'retrieval: captions to choose from', default: '256' },
    {
      flags: '--seed <n>',
      description:
        "images: added to each prompt's own, of its text; pairs: of noise, and of --max-pairs; retrieval: of groups",
      default: '0',
    },
    { flags: '--nproc <n>', description: 'images, pairs: processes on this machine that share the work', default: '1' },
  ],
  // Scores that are judged rather than given, and retrieval, are made to be read.
  makesFiles: ({ args: [what], options, global }) =>
    global.out !== undefined || what === 'images' || (what === 'pairs' && options.scores === undefined),
  async run(context) {
    const [what] = context.args as string[];
    if (what === 'images') return (await import('./eval/images.js')).evaluateImages(context);
    if (what === 'pairs') return (await import('./eval/pairs.js')).evaluatePairs(context);
    if (what === 'retrieval') return (await import('./eval/retrieval.js')).evaluateRetrieval(context);
    throw new DrmError('USAGE', `eval ${what}: expected ${WHAT.join(' or ')}`);
  },
};
