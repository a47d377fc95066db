// `drm sample`: images from prompts, plain or step by step with a reward.
import { DrmError } from '../../../binding/error.js';
import { Pipeline, setThreads } from '../../../binding/index.js';
import type { SampleSummary } from '../../../binding/types.js';
import { chooseDevice } from '../../common/device.js';
import type { Events } from '../../common/events.js';
import { prepareFolder } from '../../common/files.js';
import type { SampleSettings } from '../../config/types.js';
import { resolveModel } from '../../hub/resolve.js';
import { findLoras, type Lora, tellLoras, textOf, usesOf } from '../../lora/loras.js';
import { ImageWriter, targetOf } from '../../sample/images.js';
import { askedPrompts, callsOf, plan, type SampleJob, tokenize } from '../../sample/jobs.js';
import { type Recipe, readRecipe } from '../../sample/metadata.js';
import { requestOf, sampleSettings } from '../../sample/settings.js';
import { StepwiseReward } from '../../sample/stepwise.js';
import { TraceWriter } from '../../sample/trace.js';
import { loadTokenizers } from '../../text/tokenizer.js';
import { prepareCheckpoints } from '../../train/tasks/checkpoint_names.js';
import { latentsFile, modelOptions, splitInit } from './files.js';
import type { SampleContext } from './options.js';

/** An image that is repeated says which adapters made it. */
function warnOfChanges(from: Recipe | undefined, loras: readonly Lora[], events: Events): void {
  for (const made of from?.loras ?? []) {
    const changed = loras.find(({ name, sha256 }) => name === made.file && sha256 !== made.sha256);
    if (changed)
      events.emit({
        event: 'warning',
        message: `${changed.name} is not the file that made the image (sha256 ${changed.sha256.slice(0, 12)}… instead of ${made.sha256.slice(0, 12)}…): the image will be another`,
      });
  }
}

/** A reward that was trained on latents of another base. */
function warnOfOtherBase(reward: StepwiseReward | undefined, settings: SampleSettings, events: Events): void {
  if (reward?.base !== undefined && reward.base !== settings.model)
    events.emit({
      event: 'warning',
      message: `${settings.reward} was trained on latents of ${reward.base}, and ${settings.model} samples: its scores have meaning only where both share VAE and text encoders`,
    });
}

/** Makes a progress bar of what the core reports. */
const progressOf =
  (events: Events) =>
  (id: string, label: string, unit: string) =>
  (p: { step: number; total: number; seconds: number }) =>
    events.emit({ event: 'progress', id, label, unit, ...p });

/** By the core's phase. */
const barsOf = (
  progress: ReturnType<typeof progressOf>,
): Record<string, ReturnType<ReturnType<typeof progressOf>>> => ({
  encode: progress('encode', 'encoding prompts', 'pass'),
  denoise: progress('denoise', 'denoising', 'step'),
  decode: progress('decode', 'decoding', 'image'),
});

/** Seconds; of the parts of a step only where `parts`, since only a CPU has done the work when a call returns. */
function timesOf(summaries: readonly SampleSummary[], parts: boolean) {
  const sum = (key: keyof SampleSummary) => summaries.reduce((all, one) => all + one[key], 0);
  return {
    seconds_per_step: sum('secondsPerStep') / summaries.length,
    encode_seconds: sum('encodeSeconds'),
    denoise_seconds: sum('denoiseSeconds'),
    decode_seconds: sum('decodeSeconds'),
    ...(parts && {
      policy_seconds: sum('policySeconds'),
      reward_seconds: sum('rewardSeconds'),
      branch_seconds: sum('branchSeconds'),
    }),
  };
}

/** Latents in files are of one call of the pipeline: of images with the same settings. Throws DrmError USAGE. */
function oneCall(calls: number, { initLatents, saveLatents }: SampleContext['options']): void {
  const flag = initLatents !== undefined ? '--init-latents' : saveLatents !== undefined ? '--save-latents' : undefined;
  if (calls > 1 && flag)
    throw new DrmError(
      'USAGE',
      `sample ${flag}: expected images with the same settings, found ${calls} kinds in the prompt file; leave steps, guidance and sizes out of it, or the flag`,
    );
}

export async function sampleImages(context: SampleContext): Promise<void> {
  const { options, global, events, signal } = context;
  const started = performance.now();
  const from = options.from === undefined ? undefined : await readRecipe(options.from);
  const settings = sampleSettings(context, from);
  const prompt = [...context.args[0], ...(options.prompt ?? [])];
  const prompts = askedPrompts({ events, options: { ...options, prompt } }, from, { settings: true });
  await prepareCheckpoints([settings.model, settings.reward], context);
  const reward = StepwiseReward.find(settings);
  const { trace: traced } = options;
  if (traced && !reward)
    throw new DrmError('USAGE', 'sample --trace: expected candidates to trace; add --k 6 and --reward');
  const loras = await findLoras(settings.lora);
  warnOfChanges(from, loras, events);
  const jobs = plan(prompts, (own) => sampleSettings(context, from, own));
  const calls = callsOf(jobs);
  oneCall(calls.length, options);
  const target = targetOf(global.out ?? 'out', options.format, jobs.length);
  const { folder: out } = target;
  await prepareFolder(out);
  const model = await resolveModel(settings.model, modelOptions(options));
  if (global.threads !== undefined) setThreads(global.threads);
  const { device, dtype } = await chooseDevice(settings);
  events.emit({
    event: 'started',
    version: 1,
    command: 'sample',
    facts: {
      model: model.name,
      device,
      dtype,
      prompts: prompts.length,
      images: jobs.length,
      steps: settings.steps,
      guidance: settings.guidance,
      ...(loras.length > 0 && { lora: loras.map(textOf).join(', ') }),
      ...(reward && { k: settings.k, reward: settings.reward }),
    },
  });
  for (const note of model.notes) events.emit({ event: 'info', message: note });
  warnOfOtherBase(reward, settings, events);
  const tokenizer = loadTokenizers(model.tokenizers);
  const warn = (message: string) => events.emit({ event: 'warning', message });
  const progress = progressOf(events);
  const bars = barsOf(progress);
  const pipeline = await Pipeline.load(
    model.source,
    { device, dtype, loras: usesOf(loras) },
    { signal, onProgress: progress('load', 'loading', 'B') },
  );
  tellLoras(pipeline.info.loras, events);
  const images = new ImageWriter(target, jobs, dtype, loras, events, options.grid);
  const trace = new TraceWriter(out, jobs, events);
  try {
    await reward?.load(
      { device, dtype },
      {
        signal,
        onProgress: progress('load-reward', 'loading the reward', 'B'),
        onWarning: (message) => events.emit({ event: 'warning', message }),
      },
    );
    const summaries: SampleSummary[] = [];
    for (const which of calls) {
      const own = which.map((i) => jobs[i] as SampleJob);
      const { settings } = own[0] as SampleJob;
      const last = which === calls.at(-1);
      const request = {
        ...(await tokenize(own, tokenizer, settings.t5_length, warn)),
        ...requestOf(settings),
        freeEncoders: settings.free_encoders && last,
        ...(reward && { stepwise: await reward.request(settings, own, tokenizer, pipeline.info, traced) }),
        ...(options.initLatents !== undefined && { initLatents: splitInit(options.initLatents) }),
        ...(options.saveLatents !== undefined && { saveLatents: latentsFile(options.saveLatents) }),
      };
      const summary = await pipeline.sample(request, {
        signal: AbortSignal.any([signal, images.stop.signal]),
        onProgress: (p) => bars[p.phase]?.(p),
        onEvent: (event) => {
          if (event.kind === 'warning') warn(String(event.message));
          else if (event.kind === 'candidate') trace.take(event, which);
          else images.take(event, which);
        },
      });
      summaries.push(summary);
    }
    await images.finish();
    await trace.finish();
    if (options.grid) await images.grid();
    events.emit({
      event: 'done',
      seconds: (performance.now() - started) / 1000,
      facts: { images: images.written, ...timesOf(summaries, reward !== undefined && device === 'cpu') },
    });
  } catch (error) {
    await images.finish(); // images made before are kept, and a full disk is the better explanation
    if (error instanceof DrmError && error.code === 'CANCELLED')
      throw new DrmError(
        'CANCELLED',
        `stopped: ${images.written} of ${jobs.length} images are in ${out}; the same command makes them all again, identically`,
      );
    throw error;
  } finally {
    reward?.dispose();
    pipeline.dispose();
  }
}
