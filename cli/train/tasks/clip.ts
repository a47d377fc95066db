// `drm pretrain clip`: two towers from images and captions. The run's model/ is a transformers CLIPModel with its
// tokenizer; its text tower also serves as a text encoder of the base.
import { existsSync } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import type { Trainer } from '../../../binding/index.js';
import type { TrainBatch } from '../../../binding/types.js';
import type { PretrainClipSettings } from '../../config/types.js';
import type { Batch } from '../../data/load/loader.js';
import type { CaptionedSet } from '../../data/prepared/captioned_set.js';
import { CLIP_LENGTH, copyTokenizer, Tokenizer } from '../../text/tokenizer.js';
import { clipFits, warnOfCuts } from '../fit.js';
import { architectureFile } from '../pretrain.js';
import type { Prepared, TaskContext } from '../run.js';
import { isShort, shortCaption } from './captions.js';
import { batchesOf, meanValues, microBatches, openSets, pixelsOf } from './images.js';
import { NativeTask } from './native.js';
import { preparePart } from './part.js';

/** Token ids of all captions of a set, row by row, whole and short. */
class CaptionIds {
  private constructor(
    private readonly length: number,
    private readonly whole: BigInt64Array,
    private readonly short: BigInt64Array,
    /** Captions that are longer than a row. */
    readonly cut: string[],
  ) {}

  static async of(set: CaptionedSet, tokenizer: Tokenizer): Promise<CaptionIds> {
    const length = tokenizer.maxLength ?? CLIP_LENGTH;
    const whole = new BigInt64Array(set.length * length);
    const short = new BigInt64Array(set.length * length);
    const cut: string[] = [];
    for (let i = 0; i < set.length; i++) {
      const { ids, total } = await tokenizer.padded(set.caption(i), length);
      if (total > length) cut.push(set.caption(i));
      whole.set(ids, i * length);
      short.set((await tokenizer.padded(shortCaption(set.caption(i)), length)).ids, i * length);
    }
    return new CaptionIds(length, whole, short, cut);
  }

  rows(samples: number[], isShortened: (sample: number) => boolean): BigInt64Array {
    const { length } = this;
    const ids = new BigInt64Array(samples.length * length);
    for (const [row, sample] of samples.entries()) {
      const from = isShortened(sample) ? this.short : this.whole;
      ids.set(from.subarray(sample * length, (sample + 1) * length), row * length);
    }
    return ids;
  }
}

class ClipTask extends NativeTask<Batch> {
  constructor(
    trainer: Trainer,
    private readonly settings: PretrainClipSettings,
    private readonly ids: { train: CaptionIds; heldOut: CaptionIds },
    private readonly heldOut: CaptionedSet,
    private readonly warn: (message: string) => void,
  ) {
    super(trainer);
  }

  batches(batch: Batch): TrainBatch[] {
    const { seed, short_caption } = this.settings;
    const ids = this.ids.train.rows(batch.indices, (sample) => isShort(seed, batch.step, sample, short_caption));
    return microBatches({ ...pixelsOf(batch), ids }, this.settings.micro_batch);
  }

  /** Retrieval among the held-out images, all in one batch. */
  async evaluate(_steps: number, signal: AbortSignal): Promise<Record<string, number>> {
    const { heldOut, settings, warn, ids, trainer } = this;
    const { size, evaluate_samples: count } = settings;
    const batches = async function* () {
      for await (const batch of batchesOf(heldOut, count, { size, batch: count }, warn))
        yield { ...pixelsOf(batch), ids: ids.heldOut.rows(batch.indices, () => false) };
    };
    const {
      image_to_text = Number.NaN,
      text_to_image = Number.NaN,
      loss = Number.NaN,
    } = await meanValues(batches(), (batch) => trainer.evaluate(batch, { signal }));
    return { image_to_text, text_to_image, loss };
  }

  async finish(runFolder: string, signal: AbortSignal): Promise<Record<string, string | number>> {
    const { settings, trainer } = this;
    const folder = join(runFolder, 'model');
    await mkdir(folder, { recursive: true });
    await copyFile(architectureFile(settings.architecture), join(folder, 'config.json'));
    await copyTokenizer(settings.tokenizer, folder);
    await trainer.export(join(folder, 'model.safetensors'), settings.export_dtype, { signal });
    return { model: folder, parameters: trainer.parameters, ...(await this.evaluate(settings.steps, signal)) };
  }
}

/** The tokenizer, if the architecture can read what it gives. */
async function tokenizerThatFits(settings: PretrainClipSettings, config: string): Promise<Tokenizer> {
  const { tokenizer: folder, data } = settings;
  const make = `\`drm data tokenizer ${data || 'DATA'} --out DIR\` makes one`;
  if (folder === '') throw new DrmError('USAGE', `pretrain clip: expected a tokenizer; give --tokenizer DIR (${make})`);
  if (!existsSync(join(folder, 'tokenizer.json')) && !existsSync(join(folder, 'vocab.json')))
    throw new DrmError(
      'BAD_FILE',
      `[pretrain] --tokenizer ${folder}: expected a folder with tokenizer.json, or vocab.json and merges.txt, found ${existsSync(folder) ? 'neither in it' : 'no such folder'}; ${make}`,
      { file: folder },
    );
  const tokenizer = Tokenizer.fromFolder(folder);
  clipFits(settings, config, {
    length: tokenizer.maxLength ?? CLIP_LENGTH,
    closing: (await tokenizer.ids('')).at(-1) ?? 0,
    size: await tokenizer.size(),
  });
  return tokenizer;
}

export async function prepareClip(settings: PretrainClipSettings, context: TaskContext): Promise<Prepared> {
  const { events, team } = context;
  if (!team.alone)
    throw new DrmError(
      'USAGE',
      `pretrain clip: expected one process, found ${team.size}: a caption is told from the others of its pass, so parts of a batch would teach less than the whole; leave --nproc out`,
    );
  const config = architectureFile(settings.architecture);
  const tokenizer = await tokenizerThatFits(settings, config);
  const sets = await openSets(settings);
  const { train, heldOut } = sets;
  const ids = { train: await CaptionIds.of(train, tokenizer), heldOut: await CaptionIds.of(heldOut, tokenizer) };
  warnOfCuts(ids.train.cut, train.length, events);
  const task = (trainer: Trainer, warn: (message: string) => void) =>
    new ClipTask(trainer, settings, ids, heldOut, warn);
  return preparePart({ kind: 'clip', config, settings, sets, task }, context);
}
