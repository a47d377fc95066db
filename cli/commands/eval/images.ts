// `drm eval images`: makes a model's images of some prompts and lets rewards judge them, a row for each setting. Several
// processes make the images, each its part; the first one judges.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { setThreads } from '../../../binding/index.js';
import { chooseDevice } from '../../common/device.js';
import { type Events, progressOf } from '../../common/events.js';
import { prepareFolder } from '../../common/files.js';
import { commandLine, needed } from '../../common/options.js';
import { ImageEvaluation } from '../../eval/image_evaluation.js';
import { evaluationJobs } from '../../eval/image_jobs.js';
import { ImageModels } from '../../eval/image_models.js';
import { type Maker, makeImages } from '../../eval/images.js';
import { folderOf, type Setting, settingsOf } from '../../eval/sweeps.js';
import { weightsFingerprint } from '../../hub/fingerprint.js';
import { resolveModel } from '../../hub/resolve.js';
import { findLoras, type Lora } from '../../lora/loras.js';
import { inProcessGroup } from '../../parallel/in_process_group.js';
import type { Team } from '../../parallel/team.js';
import { askedPrompts, type Job } from '../../sample/jobs.js';
import { StepwiseReward } from '../../sample/stepwise.js';
import type { Prompt } from '../../text/prompts.js';
import { loadTokenizers } from '../../text/tokenizer.js';
import type { ImagesContext } from './options.js';

interface Asked {
  settings: Setting[];
  adapters: Map<Setting, Lora[]>;
  prompts: Prompt[];
}

export async function evaluateImages(context: ImagesContext): Promise<void> {
  const { options } = context;
  const settings = settingsOf(context);
  for (const { settings: one } of settings) StepwiseReward.find(one); // what cannot choose is refused now
  needed('eval images', {
    prompts: {
      value: options.prompts ?? options.prompt,
      what: 'prompts',
      give: '--prompts FILE (one a line, or JSONL), or --prompt TEXT',
    },
    scorer: {
      value: options.scorer ?? options.diversity,
      what: 'a scorer',
      give: '--scorer judge, --scorer clip:FOLDER, or --scorer pickscore',
    },
  });
  if (options.prompts === '-' && options.nproc !== undefined)
    throw new DrmError(
      'USAGE',
      'eval images --prompts - --nproc: expected a file, which every process can read; name one',
    );
  const adapters = new Map<Setting, Lora[]>();
  for (const one of settings) adapters.set(one, await findLoras(one.settings.lora));
  const asked = { settings, adapters, prompts: askedPrompts(context, undefined, { settings: false }) };
  await inProcessGroup(context, commandLine(process.argv.slice(2)), (team, own) => evaluateInTeam(team, own, asked));
}

const digestOf = (jobs: readonly Job[]): string =>
  createHash('sha256')
    .update(jobs.map(({ prompt, negative, seed }) => JSON.stringify([prompt, negative, String(seed)])).join('\n'))
    .digest('hex');

type Progress = ReturnType<typeof progressOfImages>;

const progressOfImages = (events: Events) => (id: string, label: string) =>
  progressOf(events, { id, label, unit: 'image' });

/** What the settings have in common. */
interface Making extends Pick<Maker, 'model' | 'weights' | 'tokenizer' | 'team' | 'signal'> {
  models: ImageModels;
  progress: Progress;
  warn(message: string): void;
}

/** How the images of one setting are made. */
async function makerOf(
  { name, settings }: Setting,
  loras: Lora[],
  reward: StepwiseReward | undefined,
  { models, progress, warn, ...common }: Making,
): Promise<Maker> {
  const { weights, tokenizer, team } = common;
  return {
    ...common,
    loras,
    weights: reward ? `${weights} ${await models.weightsOf(reward)}` : weights,
    pipeline: () => models.pipeline(loras),
    ...(reward && {
      stepwise: async (asked, { info }) => {
        await models.load(reward);
        return reward.request(settings, asked, tokenizer, info, false);
      },
    }),
    onImage: progress(`make ${name}`, `images${name && `, ${name}`}${team.size > 1 ? `, part 1 of ${team.size}` : ''}`),
    onWarning: warn,
  };
}

async function evaluateInTeam(
  team: Team,
  context: ImagesContext,
  { settings, adapters, prompts }: Asked,
): Promise<void> {
  const { options, global, events, signal } = context;
  const started = performance.now();
  const warn = (message: string) => events.emit({ event: 'warning', message });
  const [first] = settings as [Setting];
  const out = global.out ?? 'out/eval';
  if (team.first) await prepareFolder(out);
  const model = await resolveModel(first.settings.model, {});
  if (global.threads !== undefined) setThreads(global.threads);
  const { device, dtype } = await chooseDevice(first.settings, team);
  const jobs = evaluationJobs(prompts, first.settings);
  const weights = weightsFingerprint(model.source);
  await team.sameSettings({ settings: settings.map((one) => one.settings), jobs: digestOf(jobs), weights, dtype });
  const progress = progressOfImages(events);
  let evaluation: ImageEvaluation | undefined;
  const models = new ImageModels(model, { device, dtype }, context);
  try {
    // Judges and reference come first: what is missing there must not show after an hour of making images.
    const of = { model: model.name, weights, device, prompts: jobs.map(({ prompt }) => prompt), out };
    if (team.first)
      evaluation = await ImageEvaluation.open(of, { ...context, global: { ...global, device } }, (id, label) =>
        progress(id, label),
      );
    events.emit({
      event: 'started',
      version: 1,
      command: 'eval images',
      facts: {
        model: model.name,
        device,
        dtype,
        prompts: prompts.length,
        settings: settings.length,
        images: settings.length * jobs.length,
        scorers: evaluation?.rewards.map(({ name }) => name).join(', ') ?? '',
        ...(team.size > 1 && { processes: team.size }),
      },
    });
    for (const note of model.notes) events.emit({ event: 'info', message: note });
    if (options.reference !== undefined) await evaluation?.refer(options.reference);

    const made = { model, weights, tokenizer: loadTokenizers(model.tokenizers), models, team, signal, progress, warn };
    for (const setting of settings) {
      const { name, settings: values } = setting;
      const folder = name === '' ? out : join(out, folderOf(name));
      if (team.first) await prepareFolder(folder);
      const reward = StepwiseReward.find(values);
      const own = { ...values, dtype };
      const set = await makerOf(setting, adapters.get(setting) as Lora[], reward, made)
        .then((maker) => makeImages(folder, jobs, own, maker))
        .finally(() => reward?.dispose());
      await evaluation?.add(name, own, folder, set);
    }
    await team.meet();
    if (!evaluation) return;
    await evaluation.tell(first.settings.n);
    events.emit({
      event: 'done',
      seconds: (performance.now() - started) / 1000,
      facts: { images: evaluation.images, results: evaluation.file },
    });
  } finally {
    models.dispose();
    await evaluation?.close();
  }
}
