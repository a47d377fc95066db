import { DrmError } from '../../binding/error.js';
import type { Command, Context } from '../command.js';
import type { PretrainClipSettings, PretrainFlowSettings, PretrainVaeSettings } from '../config/types.js';
import { flagOf, numberOption } from '../options.js';
import type { Prepared, TaskContext, TrainingSettings } from '../train/pretrain.js';

const PARTS = ['vae', 'clip', 'flow'] as const;
type Part = (typeof PARTS)[number];

export const command: Command = {
  name: 'pretrain',
  summary: 'train a base model from nothing, part by part, or go on from given weights',
  examples: [
    {
      command: 'drm pretrain vae --config pretrain/tiny-vae --data data/emoji --out runs/vae',
      does: 'the VAE of the embedded model',
    },
    {
      command: 'drm pretrain flow --model sd3.5-medium --data data/mine --set lora_rank=32 --out runs/lora',
      does: 'fine-tunes a base on your own pictures',
    },
    { command: 'drm pretrain vae --out runs/vae --resume', does: 'goes on where that run stopped' },
  ],
  arguments: [{ name: '<part>', description: 'what to train', choices: [...PARTS] }],
  options: [
    { flags: '--model <model>', description: 'flow: the base to go on from; without it, from nothing' },
    { flags: '--tokenizer <dir>', description: 'clip: folder of the tokenizer (drm data tokenizer)' },
    { flags: '--vae <dir>', description: 'flow from nothing: folder of the VAE' },
    { flags: '--clip-l <dir>', description: 'flow from nothing: folder of the first CLIP' },
    { flags: '--clip-g <dir>', description: 'flow from nothing: folder of the second CLIP' },
    { flags: '--data <dir>', description: 'prepared set (drm data prepare)' },
    { flags: '--steps <n>', description: 'optimizer steps in all' },
    { flags: '--batch <n>', description: 'samples a step' },
    { flags: '--learning-rate <rate>', description: 'peak of the schedule' },
    { flags: '--seed <n>', description: 'of first weights, data order and all draws' },
    { flags: '--resume', description: 'go on with the run in --out, with its own settings' },
  ],
  run: pretrain,
};

async function resolve(part: Part, { options, global }: Context, folder: string): Promise<TrainingSettings> {
  const { resolveConfig } = await import('../config/resolve.js');
  const { readRunConfig } = await import('../runs/folder.js');
  const resumed = options.resume ? (await readRunConfig(folder)).settings : undefined;
  return resolveConfig(`pretrain_${part}`, {
    ...(resumed && { base: { from: folder, values: { ...resumed } } }),
    ...(global.config !== undefined && { file: global.config }),
    set: global.set,
    flags: {
      ...partFlags(part, options),
      data: options.data,
      steps: numberOption(options, 'steps'),
      batch: numberOption(options, 'batch'),
      learning_rate: numberOption(options, 'learningRate'),
      seed: numberOption(options, 'seed'),
      dtype: global.dtype,
      device: global.device === 'auto' ? undefined : global.device,
    },
  }).values;
}

async function pretrain(context: Context): Promise<void> {
  const { args, options, global, events, signal } = context;
  const part = String(args[0]) as Part;
  const folder = global.out;
  if (folder === undefined)
    throw new DrmError(
      'USAGE',
      `pretrain ${part}: expected a folder for the run; give --out DIR, such as runs/${part}`,
    );
  const { loopOptions, MAY_DIFFER } = await import('../train/pretrain.js');
  const { resumeCommand, train } = await import('../train/loop.js');
  const { Run } = await import('../runs/folder.js');
  const { chooseDevice } = await import('../device.js');
  const { setThreads } = await import('../../binding/index.js');
  if (global.threads !== undefined) setThreads(global.threads);

  const settings = await resolve(part, context, folder);
  const { device, dtype } = await chooseDevice(settings);
  const run = await Run.open({
    folder,
    task: `pretrain ${part}`,
    settings: { ...settings },
    resume: options.resume === true,
    mayDiffer: MAY_DIFFER,
  });
  try {
    const { task, data, facts, close } = await prepare(part, settings, { events, device, dtype, signal });
    try {
      run.recording(events).emit({
        event: 'started',
        version: 1,
        command: `pretrain ${part}`,
        steps: settings.steps,
        facts: {
          run: folder,
          data: settings.data,
          device,
          dtype,
          ...(global.config !== undefined && { config: global.config }),
          batch: settings.batch,
          ...facts,
        },
      });
      const command = resumeCommand(process.argv.slice(2), folder);
      await train(task, data, run, loopOptions(settings, command), { events, signal });
    } finally {
      await close();
    }
  } finally {
    await run.close();
  }
}

/** What only some parts have, as flags. */
const PART_FLAGS: Record<Part, Record<string, string>> = {
  vae: {},
  clip: { tokenizer: 'tokenizer' },
  flow: { model: 'model', vae: 'vae', clip_l: 'clipL', clip_g: 'clipG' },
};

function partFlags(part: Part, options: Record<string, unknown>): Record<string, unknown> {
  const own = PART_FLAGS[part];
  for (const name of new Set(Object.values(PART_FLAGS).flatMap(Object.values)))
    if (options[name] !== undefined && !Object.values(own).includes(name))
      throw new DrmError(
        'USAGE',
        `pretrain ${part}: ${flagOf(name)} is for ${PARTS.filter((other) => Object.values(PART_FLAGS[other]).includes(name)).join(' and ')} alone; leave it out`,
      );
  if (options.model !== undefined)
    for (const name of ['vae', 'clipL', 'clipG'])
      if (options[name] !== undefined)
        throw new DrmError(
          'USAGE',
          `pretrain ${part}: ${flagOf(name)} is for training from nothing; a base (--model) brings its own parts, leave one of the two out`,
        );
  return Object.fromEntries(Object.entries(own).map(([key, name]) => [key, options[name]]));
}

async function prepare(part: Part, settings: TrainingSettings, context: TaskContext): Promise<Prepared> {
  switch (part) {
    case 'vae':
      return (await import('../train/tasks/vae.js')).prepareVae(settings as PretrainVaeSettings, context);
    case 'clip':
      return (await import('../train/tasks/clip.js')).prepareClip(settings as PretrainClipSettings, context);
    case 'flow':
      return (await import('../train/tasks/flow.js')).prepareFlow(settings as PretrainFlowSettings, context);
  }
}
