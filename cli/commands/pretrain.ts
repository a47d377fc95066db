import { DrmError } from '../../binding/error.js';
import type { Command, Context } from '../command.js';
import type { Task } from '../config/types.js';
import type { TrainingTask } from '../train/loop.js';

const MODELS = ['vae'] as const;
type Model = (typeof MODELS)[number];

export const command: Command = {
  name: 'pretrain',
  summary: 'train a base model from nothing, part by part, or go on from given weights',
  examples: [
    {
      command: 'drm pretrain vae --config pretrain/tiny-vae --data data/emoji --out runs/vae',
      does: 'the VAE of the embedded model',
    },
    { command: 'drm pretrain vae --out runs/vae --resume', does: 'goes on where that run stopped' },
  ],
  arguments: [{ name: '<part>', description: 'what to train', choices: [...MODELS] }],
  options: [
    { flags: '--data <dir>', description: 'prepared set (drm data prepare)' },
    { flags: '--steps <n>', description: 'optimizer steps in all' },
    { flags: '--batch <n>', description: 'samples a step' },
    { flags: '--learning-rate <rate>', description: 'peak of the schedule' },
    { flags: '--seed <n>', description: 'of first weights, data order and all draws' },
    { flags: '--resume', description: 'go on with the run in --out, with its own settings' },
  ],
  run: pretrain,
};

function number(options: Record<string, unknown>, name: string, flag: string): number | undefined {
  const text = options[name];
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text === '' || Number.isNaN(value))
    throw new DrmError('USAGE', `${flag}: expected a number, found ${JSON.stringify(text)}`);
  return value;
}

async function resolve<T extends Task>(task: T, { options, global }: Context, folder: string) {
  const { resolveConfig } = await import('../config/resolve.js');
  const { readRunConfig } = await import('../runs/folder.js');
  const resumed = options.resume ? (await readRunConfig(folder)).settings : undefined;
  return resolveConfig(task, {
    ...(resumed && { base: { from: folder, values: { ...resumed } } }),
    ...(global.config !== undefined && { file: global.config }),
    set: global.set,
    flags: {
      data: options.data,
      steps: number(options, 'steps', '--steps'),
      batch: number(options, 'batch', '--batch'),
      learning_rate: number(options, 'learningRate', '--learning-rate'),
      seed: number(options, 'seed', '--seed'),
      dtype: global.dtype,
      device: global.device === 'auto' ? undefined : global.device,
    },
  }).values;
}

async function pretrain(context: Context): Promise<void> {
  const { args, options, global, events, signal } = context;
  const model = String(args[0]) as Model;
  const folder = global.out;
  if (folder === undefined)
    throw new DrmError(
      'USAGE',
      `pretrain ${model}: expected a folder for the run; give --out DIR, such as runs/${model}`,
    );
  const { loopOptions, MAY_DIFFER } = await import('../train/pretrain.js');
  const { resumeCommand, train } = await import('../train/loop.js');
  const { Run } = await import('../runs/folder.js');
  const { chooseDevice } = await import('../device.js');
  const { setThreads } = await import('../../binding/index.js');
  if (global.threads !== undefined) setThreads(global.threads);

  const settings = await resolve(`pretrain_${model}`, context, folder);
  const { device, dtype } = await chooseDevice(settings);
  const run = await Run.open({
    folder,
    task: `pretrain ${model}`,
    settings: { ...settings },
    resume: options.resume === true,
    mayDiffer: MAY_DIFFER,
  });
  try {
    const { task, data, facts } = await prepare(settings, { events, device, dtype });
    try {
      run.recording(events).emit({
        event: 'started',
        version: 1,
        command: `pretrain ${model}`,
        facts: {
          run: folder,
          data: settings.data,
          device,
          dtype,
          steps: settings.steps,
          batch: settings.batch,
          ...facts,
        },
      });
      const command = resumeCommand(process.argv.slice(2), folder);
      await train(task as TrainingTask<unknown>, data, run, loopOptions(settings, command), { events, signal });
    } finally {
      task.dispose();
    }
  } finally {
    await run.close();
  }
}

async function prepare(
  settings: Awaited<ReturnType<typeof resolve<'pretrain_vae'>>>,
  context: import('../train/pretrain.js').TaskContext,
) {
  const { prepareVae } = await import('../train/tasks/vae.js');
  return prepareVae(settings, context);
}
