// `drm pretrain flow`: the velocity network by flow matching, from scratch beside given parts, or on from a base, all of
// it or LoRA alone. The run's model/ is a diffusers folder (or pytorch_lora_weights.safetensors).
import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import type { Trainer } from '../../../binding/index.js';
import type { ComponentFiles, PipelineSource, PromptTokens, TrainBatch } from '../../../binding/types.js';
import { progressOf } from '../../common/events.js';
import { writeAtomically } from '../../common/files.js';
import type { PretrainFlowSettings } from '../../config/types.js';
import type { Batch } from '../../data/load/loader.js';
import type { CaptionedSet } from '../../data/prepared/captioned_set.js';
import { copyBase } from '../../hub/copy_base.js';
import { wordedSheet } from '../../image/sheet.js';
import type { Team } from '../../parallel/team.js';
import { sampleOrder } from '../../random/order.js';
import { copyTokenizer, loadTokenizers } from '../../text/tokenizer.js';
import { partsFit, targetsFit, trainableBase, warnOfCuts } from '../fit.js';
import { architectureFile, schedulerFile } from '../pretrain.js';
import { type Prepared, type TaskContext, trainerOptions } from '../run.js';
import { writeTextTower } from '../text_tower.js';
import type { TrainingData } from '../training_task.js';
import { isShort, shortCaption } from './captions.js';
import {
  batchesOf,
  closing,
  ImageData,
  imageWarnings,
  leftOut,
  meanValues,
  microBatches,
  openSets,
  pixelsOf,
} from './images.js';
import { NativeTask } from './native.js';
import { Texts } from './texts.js';

/** Images of a sample sheet where no prompts are named. */
const PREVIEWS = 12;

/** Rows of a set's captions, whole and short, by sample. */
function captionRows(set: CaptionedSet, texts: Texts): { whole: number[]; short: number[] } {
  const captions = Array.from({ length: set.length }, (_, i) => set.caption(i));
  return {
    whole: captions.map((caption) => texts.row(caption)),
    short: captions.map((caption) => texts.row(shortCaption(caption))),
  };
}

/** A step of samples whose latents are in the trainer's memory. */
interface Step {
  step: number;
  indices: number[];
}

class CachedData implements TrainingData<Step> {
  readonly #order: (step: number) => number[];

  /** `samples`: those of all `length` whose images could be read. */
  constructor(
    private readonly samples: number[],
    private readonly length: number,
    { seed, batch }: PretrainFlowSettings,
    team: Team,
  ) {
    const order = sampleOrder(seed, samples.length, batch);
    this.#order = (step) => team.part(order(step));
  }

  async next(index: number) {
    const indices = this.#order(index).map((at) => this.samples[at] as number);
    return { batch: { step: index, indices }, samples: indices.length, waitedSeconds: 0 };
  }

  facts(): Record<string, number> {
    return leftOut(this.length - this.samples.length);
  }

  close(): void {}
}

interface Parts {
  source: PipelineSource;
  tokenizers: { clipL: string; clipG: string; t5?: string };
  /** Folder of a diffusers model whose other parts the result shares; undefined when it is put together from parts. */
  base: string | undefined;
}

/** A part that the transformer is trained beside. */
function givenPart(flag: string, folder: string, weights: string): ComponentFiles & { config: string } {
  if (folder === '')
    throw new DrmError(
      'USAGE',
      `pretrain flow: expected ${flag} DIR, a part that the transformer is trained beside, or --model to go on from a whole base`,
    );
  for (const name of ['config.json', weights])
    if (!existsSync(join(folder, name)))
      throw new DrmError(
        'BAD_FILE',
        `[pretrain] ${flag} ${folder}: expected a folder with config.json and ${weights}, found ${existsSync(folder) ? `no ${name} in it` : 'no such folder'}; a run of \`drm pretrain ${flag === '--vae' ? 'vae` has it in RUN/model/vae' : 'clip` has them in RUN/model'}`,
        { file: folder },
      );
  return { config: join(folder, 'config.json'), weights: [join(folder, weights)] };
}

async function findParts(s: PretrainFlowSettings): Promise<Parts> {
  if (s.model === '' && s.lora_rank > 0)
    throw new DrmError(
      'USAGE',
      `pretrain flow: lora_rank ${s.lora_rank} adapts trained weights: expected --model, the base to adapt; or train all weights with --set lora_rank=0`,
    );
  if (s.model !== '') {
    const { base, transformer } = await trainableBase('pretrain', s, 256);
    return { source: base.source, tokenizers: base.tokenizers, base: dirname(dirname(transformer)) };
  }
  return {
    source: {
      transformer: { config: architectureFile(s.architecture), weights: [] },
      vae: givenPart('--vae', s.vae, 'diffusion_pytorch_model.safetensors'),
      textEncoder: givenPart('--clip-l', s.clip_l, 'model.safetensors'),
      textEncoder2: givenPart('--clip-g', s.clip_g, 'model.safetensors'),
      schedulerConfig: schedulerFile(s.scheduler),
    },
    tokenizers: { clipL: s.clip_l, clipG: s.clip_g },
    base: undefined,
  };
}

interface Sets {
  train: CaptionedSet;
  heldOut: CaptionedSet;
  rows: { train: ReturnType<typeof captionRows>; heldOut: ReturnType<typeof captionRows> };
  previews: { row: number; text: string }[];
}

class FlowTask extends NativeTask<Batch | Step> {
  constructor(
    trainer: Trainer,
    private readonly settings: PretrainFlowSettings,
    private readonly parts: Parts,
    private readonly sets: Sets,
    private readonly warn: (message: string) => void,
  ) {
    super(trainer);
  }

  batches(batch: Batch | Step): TrainBatch[] {
    const { seed, short_caption, micro_batch } = this.settings;
    const { whole, short } = this.sets.rows.train;
    const texts = batch.indices.map(
      (sample) => (isShort(seed, batch.step, sample, short_caption) ? short[sample] : whole[sample]) as number,
    );
    const given: TrainBatch = 'pixels' in batch ? pixelsOf(batch) : { samples: batch.indices };
    return microBatches({ ...given, texts }, micro_batch);
  }

  async evaluate(_steps: number, signal: AbortSignal): Promise<Record<string, number>> {
    const { settings, sets, warn, trainer } = this;
    const batches = async function* () {
      for await (const batch of batchesOf(sets.heldOut, settings.evaluate_samples, settings, warn))
        yield { ...pixelsOf(batch), texts: batch.indices.map((sample) => sets.rows.heldOut.whole[sample] as number) };
    };
    return meanValues(batches(), (batch) => trainer.evaluate(batch, { signal }));
  }

  async preview(_steps: number, folder: string, signal: AbortSignal): Promise<string[]> {
    const { sets, settings, trainer } = this;
    const request = {
      texts: sets.previews.map(({ row }) => row),
      seeds: sets.previews.map((_, i) => i),
      steps: settings.preview_steps,
      guidance: settings.preview_guidance,
      height: settings.size,
      width: settings.size,
    };
    const images = await trainer.preview(request, { signal });
    const sheet = join(folder, 'sheet.png');
    const prompts = sets.previews.map(({ text }) => text);
    await writeAtomically(sheet, await wordedSheet(images, prompts));
    await writeAtomically(join(folder, 'prompts.txt'), `${prompts.join('\n')}\n`);
    return [sheet];
  }

  async finish(runFolder: string, signal: AbortSignal): Promise<Record<string, string | number>> {
    const { settings, trainer, parts } = this;
    const model = join(runFolder, 'model');
    await mkdir(model, { recursive: true });
    if (settings.lora_rank > 0) {
      const file = join(model, 'pytorch_lora_weights.safetensors');
      await trainer.export(file, 'fp32', { signal });
      return { lora: file, parameters: trainer.parameters };
    }
    await writeBase(model, trainer, { settings, parts }, signal);
    return { model, parameters: trainer.parameters };
  }
}

/** A diffusers folder with the trainer's weights as its transformer. */
async function writeBase(
  model: string,
  trainer: Trainer,
  { settings, parts }: { settings: PretrainFlowSettings; parts: Parts },
  signal: AbortSignal,
): Promise<void> {
  if (parts.base === undefined) await writeParts(model, settings, parts);
  else await copyBase(parts.base, model);
  const transformer = join(model, 'transformer');
  await mkdir(transformer, { recursive: true });
  await copyFile(String(parts.source.transformer.config), join(transformer, 'config.json'));
  await trainer.export(join(transformer, 'diffusion_pytorch_model.safetensors'), settings.export_dtype, { signal });
}

/** The base as it stood at a checkpoint of a run that trains all weights, in this folder. */
export async function writeBaseAt(
  settings: PretrainFlowSettings,
  state: string,
  folder: string,
  signal: AbortSignal,
): Promise<void> {
  const parts = await findParts(settings);
  const { Trainer } = await import('../../../binding/index.js');
  const objective = { kind: 'flow' as const, source: parts.source, settings };
  const trainer = await Trainer.create(objective, trainerOptions(settings, 'cpu', 'fp32'), { signal });
  try {
    await trainer.restore(state);
    await mkdir(folder, { recursive: true });
    await writeBase(folder, trainer, { settings, parts }, signal);
  } finally {
    trainer.dispose();
  }
}

/** All of a diffusers folder but the transformer. */
async function writeParts(model: string, s: PretrainFlowSettings, parts: Parts): Promise<void> {
  const folder = async (name: string) => {
    const path = join(model, name);
    await mkdir(path, { recursive: true });
    return path;
  };
  await cp(s.vae, await folder('vae'), { recursive: true });
  await copyFile(String(parts.source.schedulerConfig), join(await folder('scheduler'), 'scheduler_config.json'));
  for (const [clip, encoder, tokenizer] of [
    [s.clip_l, 'text_encoder', 'tokenizer'],
    [s.clip_g, 'text_encoder_2', 'tokenizer_2'],
  ] as const) {
    await writeTextTower(clip, await folder(encoder));
    await copyTokenizer(clip, await folder(tokenizer));
  }
  const index = {
    _class_name: 'StableDiffusion3Pipeline',
    feature_extractor: [null, null],
    image_encoder: [null, null],
    scheduler: ['diffusers', 'FlowMatchEulerDiscreteScheduler'],
    text_encoder: ['transformers', 'CLIPTextModelWithProjection'],
    text_encoder_2: ['transformers', 'CLIPTextModelWithProjection'],
    text_encoder_3: [null, null],
    tokenizer: ['transformers', 'CLIPTokenizer'],
    tokenizer_2: ['transformers', 'CLIPTokenizer'],
    tokenizer_3: [null, null],
    transformer: ['diffusers', 'SD3Transformer2DModel'],
    vae: ['diffusers', 'AutoencoderKL'],
  };
  await writeAtomically(join(model, 'model_index.json'), `${JSON.stringify(index, null, 2)}\n`);
  const recommended = { steps: s.preview_steps, guidance: s.preview_guidance, t5_length: s.t5_length };
  await writeAtomically(join(model, 'drm.json'), `${JSON.stringify({ sample: recommended }, null, 2)}\n`);
}

/** Encodes all images of the set; returns the samples that could be read. */
async function cacheLatents(
  trainer: Trainer,
  set: CaptionedSet,
  settings: PretrainFlowSettings,
  warn: (message: string) => void,
  { events, signal }: TaskContext,
): Promise<number[]> {
  const tell = progressOf(events, { id: 'latents', label: 'encoding images', unit: 'image' });
  const good: number[] = [];
  for await (const batch of batchesOf(set, set.length, settings, warn)) {
    await trainer.cacheLatents(pixelsOf(batch), { signal });
    good.push(...batch.indices);
    tell((batch.indices.at(-1) as number) + 1, set.length);
  }
  return good;
}

export async function prepareFlow(settings: PretrainFlowSettings, context: TaskContext): Promise<Prepared> {
  const { events, device, dtype, signal, team } = context;
  const parts = await findParts(settings);
  partsFit(settings.size, parts.source);
  if (settings.lora_rank > 0) await targetsFit(settings.lora_targets, parts.source.transformer.weights);
  const { train, heldOut } = await openSets(settings);
  const warn = imageWarnings(events);
  const texts = new Texts(['']); // row 0 is the empty prompt
  const rows = { train: captionRows(train, texts), heldOut: captionRows(heldOut, texts) };
  const wanted =
    settings.preview_prompts.length > 0
      ? settings.preview_prompts
      : Array.from({ length: Math.min(PREVIEWS, heldOut.length) }, (_, i) => heldOut.caption(i));
  const previews = wanted.map((text) => ({ text, row: texts.row(text) }));

  const { Trainer } = await import('../../../binding/index.js');
  const trainer = await Trainer.create(
    {
      kind: 'flow',
      source: parts.source,
      settings,
    },
    trainerOptions(settings, device, dtype),
    { signal, group: team.group },
  );
  const tokenizer = loadTokenizers(parts.tokenizers);
  const tokens: PromptTokens[] = [];
  const cut: string[] = [];
  for (const text of texts.all) {
    const prompt = await tokenizer.encode(text, settings.t5_length);
    if (prompt.truncated.length > 0) cut.push(text);
    tokens.push(prompt.tokens);
  }
  warnOfCuts(cut, texts.all.length, events);
  events.emit({ event: 'info', message: `encoding ${tokens.length} prompts` }); // minutes, with a T5
  await trainer.cachePrompts(tokens, { signal });
  const data = settings.cache_latents
    ? new CachedData(await cacheLatents(trainer, train, settings, warn, context), train.length, settings, team)
    : new ImageData(train, settings, warn, team);
  return {
    task: new FlowTask(trainer, settings, parts, { train, heldOut, rows, previews }, warn),
    data,
    steps: settings.steps,
    facts: { parameters: trainer.parameters, images: train.length, prompts: texts.all.length, size: settings.size },
    close: closing(trainer, train, heldOut),
  };
}
