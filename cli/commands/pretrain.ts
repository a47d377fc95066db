import { DrmError } from '../../binding/error.js';
import { type Context, defineCommand } from '../common/command.js';
import { flagOf, toNumber } from '../common/options.js';
import type {
  PretrainClipSettings,
  PretrainFlowSettings,
  PretrainScorerSettings,
  PretrainVaeSettings,
} from '../config/types.js';
import { LEARNING_RATE, RUN_OPTIONS } from '../train/options.js';
import type { Prepared, TaskContext, TrainingFlags, TrainingSettings } from '../train/run.js';

const PARTS = ['vae', 'clip', 'flow', 'scorer'] as const;
type Part = (typeof PARTS)[number];

export const command = defineCommand({
  name: 'pretrain',
  summary: 'train a base model from scratch, part by part, or go on from given weights',
  examples: [
    {
      command: 'drm pretrain vae --config pretrain/tiny-vae --data data/emoji --out runs/vae',
      does: 'the VAE of the embedded model',
    },
    {
      command: 'drm pretrain flow --model sd3.5-medium --data data/mine --set lora_rank=32 --out runs/lora',
      does: 'fine-tunes a base on your own images',
    },
    {
      command: 'drm pretrain flow --nproc 4 --model sd3.5-medium --data data/mine --out runs/full',
      does: 'the same on four GPUs of this machine',
    },
    { command: 'drm pretrain vae --out runs/vae --resume', does: 'goes on where that run stopped' },
  ],
  arguments: [{ name: '<part>', description: 'what to train', choices: PARTS }],
  options: [
    { flags: '--model <model>', description: 'flow: the base to go on from; without it, from scratch' },
    { flags: '--tokenizer <dir>', description: 'clip: folder of the tokenizer (drm data tokenizer)' },
    { flags: '--vae <dir>', description: 'flow from scratch: folder of the VAE' },
    { flags: '--clip-l <dir>', description: 'flow from scratch: folder of the first CLIP' },
    { flags: '--clip-g <dir>', description: 'flow from scratch: folder of the second CLIP' },
    { flags: '--data <dir>', description: 'prepared set (drm data prepare)' },
    { flags: '--steps <n>', description: 'optimizer steps in all', parse: toNumber },
    { flags: '--batch <n>', description: 'samples a step', parse: toNumber },
    LEARNING_RATE,
    { flags: '--seed <n>', description: 'of first weights, data order and all draws', parse: toNumber },
    ...RUN_OPTIONS,
  ],
  tasks: PARTS.map((part) => `pretrain_${part}`),
  makesFiles: () => true,
  run: pretrain,
});

async function pretrain(context: Context<TrainingFlags & PartFlags, readonly [Part]>): Promise<void> {
  const { args, options } = context;
  const [part] = args;
  const { runFolder, runSettings, trainInRun, trainingFlags } = await import('../train/run.js');
  const name = `pretrain ${part}`;
  const folder = runFolder(context, name, `runs/${part}`);
  const flags = { ...partFlags(part, options), ...trainingFlags(context) };
  const { recommendedSettingsFile: recommended } = await import('../hub/resolve.js');
  const settings = await runSettings(`pretrain_${part}`, context, folder, { flags, recommended });
  await trainInRun(context, { name, folder, settings }, (made) => prepare(part, settings, made));
}

/** What only some parts have. */
type PartFlags = Record<'tokenizer' | 'model' | 'vae' | 'clipL' | 'clipG', string | undefined>;

const PART_FLAGS: Record<Part, Record<string, keyof PartFlags>> = {
  vae: {},
  clip: { tokenizer: 'tokenizer' },
  scorer: {},
  flow: { model: 'model', vae: 'vae', clip_l: 'clipL', clip_g: 'clipG' },
};

function partFlags(part: Part, options: PartFlags) {
  const own = PART_FLAGS[part];
  for (const name of new Set(Object.values(PART_FLAGS).flatMap((own) => Object.values(own))))
    if (options[name] !== undefined && !Object.values(own).includes(name))
      throw new DrmError(
        'USAGE',
        `pretrain ${part}: ${flagOf(name)} is for ${PARTS.filter((other) => Object.values(PART_FLAGS[other]).includes(name)).join(' and ')} alone; leave it out`,
      );
  if (options.model !== undefined)
    for (const name of ['vae', 'clipL', 'clipG'] as const)
      if (options[name] !== undefined)
        throw new DrmError(
          'USAGE',
          `pretrain ${part}: ${flagOf(name)} is for training from scratch; a base (--model) brings its own parts, leave one of the two out`,
        );
  return Object.fromEntries(Object.entries(own).map(([key, name]) => [key, options[name]]));
}

async function prepare(part: Part, settings: TrainingSettings, context: TaskContext): Promise<Prepared> {
  switch (part) {
    case 'vae':
      return (await import('../train/tasks/vae.js')).prepareVae(settings as PretrainVaeSettings, context);
    case 'clip':
      return (await import('../train/tasks/clip.js')).prepareClip(settings as PretrainClipSettings, context);
    case 'scorer':
      return (await import('../train/tasks/scorer.js')).prepareScorer(settings as PretrainScorerSettings, context);
    case 'flow':
      return (await import('../train/tasks/flow.js')).prepareFlow(settings as PretrainFlowSettings, context);
  }
}
