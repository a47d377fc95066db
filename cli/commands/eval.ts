import { type CommandGroup, defineCommand } from '../common/command.js';
import { IMAGES_OPTIONS, PAIRS_OPTIONS, RETRIEVAL_OPTIONS } from './eval/options.js';

const images = defineCommand({
  name: 'images',
  summary: 'make images of prompts and let scorers judge them, a row for each setting',
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
  ],
  options: IMAGES_OPTIONS,
  tasks: ['sample'],
  makesFiles: () => true,
  run: async (context) => (await import('./eval/images.js')).evaluateImages(context),
});

const pairs = defineCommand({
  name: 'pairs',
  summary: 'how often rewards prefer the image that people preferred',
  examples: [
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
  ],
  options: PAIRS_OPTIONS,
  // Scores that are judged rather than given are made to be read.
  makesFiles: ({ options, global }) => global.out !== undefined || options.scores === undefined,
  run: async (context) => (await import('./eval/pairs.js')).evaluatePairs(context),
});

const retrieval = defineCommand({
  name: 'retrieval',
  summary: 'how often a CLIP finds the caption of a real image',
  examples: [
    {
      command: 'drm eval retrieval --data data/emoji --split test-style --scorer judge',
      does: 'how often a CLIP finds the right caption of real images among 256',
    },
    {
      command: 'drm eval retrieval --data data/emoji --scorer judge --scorer clip:runs/clip/model --among 64',
      does: 'two CLIPs beside each other, on every split',
    },
  ],
  options: RETRIEVAL_OPTIONS,
  makesFiles: ({ global }) => global.out !== undefined,
  run: async (context) => (await import('./eval/retrieval.js')).evaluateRetrieval(context),
});

export const command: CommandGroup = {
  name: 'eval',
  summary: 'measure models by scorers, and rewards by preferences or real images',
  examples: [images, pairs, retrieval].flatMap(({ examples }) => examples.slice(0, 1)),
  subcommands: [images, pairs, retrieval],
};
