// What commands that train share: their settings, what they hand to the loop, the run that the loop works in.
import { statSync } from 'node:fs';
import { DrmError } from '../../binding/error.js';
import type { Dtype, TrainerOptions } from '../../binding/types.js';
import type { Context } from '../common/command.js';
import type { TrainingDevice } from '../common/device.js';
import type { Events } from '../common/events.js';
import { VERSION } from '../common/version.js';
import type { Sources } from '../config/resolve.js';
import type {
  GrpoSettings,
  PretrainClipSettings,
  PretrainFlowSettings,
  Settings,
  Task,
  TrainSettings,
} from '../config/types.js';
import type { Team } from '../parallel/team.js';
import type { RunOptions } from './options.js';
import { resumeCommand } from './resume_command.js';
import type { TrainingData, TrainingOptions, TrainingTask } from './training_task.js';

export interface TaskContext {
  events: Events;
  signal: AbortSignal;
  device: string;
  dtype: Dtype;
  /** The processes that train together: the trainer is of its group, and a step's samples are its part() of the batch. */
  team: Team;
}

/** A task with its data, ready for the loop. Only the two of them know what a batch is. */
export interface Prepared {
  task: TrainingTask<unknown>;
  data: TrainingData<unknown>;
  /** Of the loop in all. */
  steps: number;
  /** Worth saying at the start. */
  facts: Record<string, string | number>;
  /** Where the loop is to do otherwise than by the shared settings. */
  loop?: Partial<TrainingOptions>;
  /** Gives the model's memory and the set's files back. */
  close(): Promise<void>;
}

/** Settings of configs/schema/parts/training.json, which every training task has. */
export type TrainingSettings = Pick<
  TrainSettings,
  Exclude<
    keyof TrainSettings & keyof PretrainClipSettings & keyof PretrainFlowSettings & keyof GrpoSettings,
    'task' | 'size'
  >
> & {
  preview_every?: number;
  /** Of tasks that learn from a prepared set. */
  data?: string;
  /** Of those that learn from prompts. */
  prompts?: string;
};

export function trainerOptions(
  settings: TrainingSettings,
  device: string,
  dtype: Dtype,
): TrainerOptions & { zero: boolean } {
  return { device, dtype, seed: BigInt(settings.seed), settings, zero: settings.zero };
}

function loopOptions(s: TrainingSettings, { steps, loop }: Prepared, resumeCommand: string): TrainingOptions {
  return {
    steps,
    rate: { peak: s.learning_rate, shape: s.schedule, warmUp: s.warm_up, floor: s.floor },
    logEvery: s.log_every,
    evaluateEvery: s.evaluate_every,
    previewEvery: s.preview_every ?? 0,
    checkpointEvery: s.checkpoint_every,
    checkpointMinutes: s.checkpoint_minutes,
    keep: { last: s.keep_last, every: s.keep_every },
    skipNotFinite: s.skip_not_finite,
    resumeCommand,
    ...loop,
  };
}

/** Settings that a resumed run may change: they do not reach the numbers, or only from here on. */
const MAY_DIFFER = [
  'data',
  'evaluate_data',
  'evaluate_prompts',
  'steps',
  'epochs',
  'iterations',
  'device',
  'prefetch',
  'log_every',
  'evaluate_every',
  'evaluate_samples',
  'evaluate_steps',
  'evaluate_guidance',
  'judge',
  'stop_when',
  'preview_every',
  'checkpoint_every',
  'checkpoint_minutes',
  'keep_last',
  'keep_every',
  'skip_not_finite',
  'zero',
  'export_dtype',
];

/** The run's folder. Throws DrmError USAGE when none was given. */
export function runFolder({ global }: Context, name: string, example: string): string {
  if (global.out !== undefined) return global.out;
  throw new DrmError('USAGE', `${name}: expected a folder for the run; give --out DIR, such as ${example}`);
}

/** Options that every training has, or most have. */
export interface TrainingFlags extends RunOptions {
  data?: string | undefined;
  steps?: number | undefined;
  batch: number | undefined;
  learningRate: number | undefined;
  seed: number | undefined;
}

/** They as settings. */
export const trainingFlags = ({ options, global }: Context<TrainingFlags>) => ({
  data: options.data,
  steps: options.steps,
  batch: options.batch,
  learning_rate: options.learningRate,
  seed: options.seed,
  dtype: global.dtype,
  device: global.device === 'auto' ? undefined : global.device,
});

/** Tasks whose settings a run keeps. */
type RunTask = Exclude<Task, 'sample' | 'reproduce'>;

/** A task's settings by config file, --set and these flags, from those that the run in `folder` has where it is resumed. */
export async function runSettings<T extends RunTask>(
  task: T,
  { options, global }: Context<Pick<TrainingFlags, 'resume'>>,
  folder: string,
  { flags, recommended }: Pick<Sources, 'flags' | 'recommended'>,
): Promise<Settings[T]> {
  const { resolveConfig } = await import('../config/resolve.js');
  const { readRunConfig } = await import('../runs/folder.js');
  const resumed = options.resume ? (await readRunConfig(folder)).settings : undefined;
  const { values } = resolveConfig(task, {
    ...(resumed && { base: { from: folder, values: { ...resumed } } }),
    ...(recommended && { recommended }),
    ...(global.config !== undefined && { file: global.config }),
    set: global.set,
    ...(flags && { flags }),
  });
  // A run keeps the dtype that "auto" was where it began.
  return resumed && values.dtype === 'auto' ? { ...values, dtype: resumed.dtype } : values;
}

/** What settings name by a path that leads to something else on each machine: the set's shards, the list of prompts. */
async function contentOf({ data, prompts }: TrainingSettings): Promise<Record<string, string>> {
  const { readManifest } = await import('../data/prepared/manifest.js');
  const { hashOfFile } = await import('../common/files.js');
  const { settingsHash } = await import('../runs/folder.js');
  const isFile = prompts !== undefined && statSync(prompts, { throwIfNoEntry: false })?.isFile();
  return {
    ...(data !== undefined && { 'shards of data': settingsHash({ shards: readManifest(data).shards }) }),
    ...(isFile && { 'content of prompts': await hashOfFile(prompts) }),
  };
}

interface TrainingRun {
  name: string;
  folder: string;
  settings: TrainingSettings;
  /** Where no one chose a dtype it is fp32 on every CPU: of ratios, which 16 bits blur. */
  exact?: boolean;
}

/** Trains what `prepare` makes in a run folder, a new one or with --resume the one that is there; with all processes. */
export async function trainInRun(
  context: Context<TrainingFlags>,
  what: TrainingRun,
  prepare: (context: TaskContext) => Promise<Prepared>,
): Promise<void> {
  const { inProcessGroup } = await import('../parallel/in_process_group.js');
  const resume = resumeCommand(process.argv.slice(2), what.folder);
  await inProcessGroup(context, resume, (team, own) => trainInTeam(team, own, { ...what, resume }, prepare));
}

async function trainInTeam(
  team: Team,
  { options, global, events, signal }: Context<TrainingFlags>,
  { name, folder, settings, exact, resume }: TrainingRun & { resume: string },
  prepare: (context: TaskContext) => Promise<Prepared>,
): Promise<void> {
  const { train } = await import('./loop.js');
  const { openRun } = await import('../parallel/follower.js');
  const { chooseDevice, chooseForTraining } = await import('../common/device.js');
  const { setThreads } = await import('../../binding/index.js');
  if (global.threads !== undefined) setThreads(global.threads);

  const { resume: resumed } = options;
  // Runs of older versions have "auto" as their dtype, which was fp32 on every CPU.
  const older = resumed && settings.dtype === 'auto';
  const chosen: TrainingDevice = await (exact || older ? chooseDevice : chooseForTraining)(settings, team);
  const { device, dtype } = chosen;
  const recorded = older ? settings : { ...settings, dtype };
  // Of all settings, those that a resumed run may change, too: a process with other steps would end alone.
  await team.sameSettings({ drm: VERSION, command: name, out: folder, resume: resumed, ...recorded });
  if (settings.data !== undefined && settings.batch < team.size)
    throw new DrmError(
      'BAD_CONFIG',
      `[train] batch: expected at least ${team.size}, a sample for each process, found ${settings.batch}; give --batch ${team.size} or more, or train with fewer processes`,
      { key: 'batch', expected: String(team.size), found: String(settings.batch) },
    );
  const run = await openRun(team, {
    folder,
    task: name,
    settings: { ...recorded },
    resume: resumed,
    mayDiffer: MAY_DIFFER,
  });
  try {
    // What a task says while it trains is kept; the run's own first word is `started`.
    const recording = run.recording(events);
    let saying = events;
    const made = await prepare({ events: { emit: (event) => saying.emit(event) }, device, dtype, signal, team });
    const { task, data, steps, facts, close } = made;
    try {
      if (!team.alone) await team.sameSettings({ steps, ...(await contentOf(settings)) });
      saying = recording;
      recording.emit({
        event: 'started',
        version: 1,
        command: name,
        steps,
        facts: {
          run: folder,
          ...(settings.data !== undefined && { data: settings.data }),
          device,
          dtype,
          ...(chosen.because !== undefined && { dtype_because: chosen.because }),
          ...(team.alone ? {} : { processes: team.size }),
          ...(global.config !== undefined && { config: global.config }),
          ...(settings.data !== undefined && { batch: settings.batch }),
          ...facts,
        },
      });
      if (chosen.warning !== undefined) recording.emit({ event: 'warning', message: chosen.warning });
      await train(task, data, run, loopOptions(settings, made, resume), { events, signal, team });
    } finally {
      await close();
    }
  } finally {
    await run.close();
  }
}
