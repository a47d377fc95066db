import { defineCommand } from '../common/command.js';
import { ARGUMENTS, OPTIONS } from './eval/options.js';

export const command = defineCommand({
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
  arguments: ARGUMENTS,
  options: OPTIONS,
  // Scores that are judged rather than given, and retrieval, are made to be read.
  makesFiles: ({ args: [what], options, global }) =>
    global.out !== undefined || what === 'images' || (what === 'pairs' && options.scores === undefined),
  async run(context) {
    switch (context.args[0]) {
      case 'images':
        return (await import('./eval/images.js')).evaluateImages(context);
      case 'pairs':
        return (await import('./eval/pairs.js')).evaluatePairs(context);
      case 'retrieval':
        return (await import('./eval/retrieval.js')).evaluateRetrieval(context);
    }
  },
});
