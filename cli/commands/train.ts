import { defineCommand } from '../common/command.js';
import { toNumber } from '../common/options.js';
import { LEARNING_RATE, RUN_OPTIONS } from '../train/options.js';

export const command = defineCommand({
  name: 'train',
  summary: 'train a reward model from preference pairs',
  examples: [
    { command: 'drm train --config train/tiny --data data/prefs --out runs/reward', does: 'the embedded reward model' },
    {
      command: 'drm train --config train/sd35-medium-one-gpu --data data/hpdv3 --out runs/reward',
      does: "the paper's recipe on one GPU",
    },
    { command: 'drm train --out runs/reward --resume', does: 'goes on where that run stopped' },
  ],
  options: [
    { flags: '--data <dir>', description: 'prepared pairs (drm data prepare)' },
    { flags: '--model <model>', description: 'the base that becomes a reward model' },
    { flags: '--eval-data <dir>', description: 'held-out pairs; without it a part of --data' },
    { flags: '--from <reward>', description: 'a reward model to go on from' },
    { flags: '--from-scratch', description: 'random first weights instead of those of the base' },
    {
      flags: '--backbone <what>',
      description: 'what of it is trained beside the head',
      choices: ['full', 'lora', 'frozen'],
    },
    { flags: '--epochs <n>', description: 'times that every pair is seen', parse: toNumber },
    { flags: '--steps <n>', description: 'optimizer steps in all, instead of epochs', parse: toNumber },
    { flags: '--batch <n>', description: 'pairs a step', parse: toNumber },
    { flags: '--micro-batch <n>', description: 'pairs a pass, for less memory', parse: toNumber },
    LEARNING_RATE,
    { flags: '--seed <n>', description: 'of first weights, data order and all draws', parse: toNumber },
    {
      flags: '--export <layout>',
      description: "of the result: drm's folder, or the authors' single file",
      choices: ['drm', 'authors'],
    },
    ...RUN_OPTIONS,
  ],
  tasks: ['train'],
  makesFiles: () => true,
  async run(context) {
    const { options } = context;
    const { runFolder, runSettings, trainInRun, trainingFlags } = await import('../train/run.js');
    const { recommendedSettingsFile } = await import('../hub/resolve.js');
    const folder = runFolder(context, 'train', 'runs/reward');
    const flags = {
      ...trainingFlags(context),
      model: options.model,
      evaluate_data: options.evalData,
      from: options.from,
      init: options.fromScratch ? 'random' : undefined,
      backbone: options.backbone,
      epochs: options.epochs,
      micro_batch: options.microBatch,
      export: options.export,
    };
    const settings = await runSettings('train', context, folder, { flags, recommended: recommendedSettingsFile });
    const { prepareCheckpoints } = await import('../train/tasks/checkpoint_names.js');
    await prepareCheckpoints([settings.model, settings.from], context);
    const { prepareReward } = await import('../train/tasks/reward.js');
    await trainInRun(context, { name: 'train', folder, settings }, (made) => prepareReward(settings, made));
  },
});
