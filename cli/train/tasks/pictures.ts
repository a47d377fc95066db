// What every objective on captioned pictures needs: the set, batches ahead of the training, held-out batches.
import { DrmError } from '../../../binding/error.js';
import type { TrainBatch } from '../../../binding/types.js';
import { CaptionedSet } from '../../data/captioned_set.js';
import { type Batch, BatchLoader } from '../../data/loader.js';
import { sampleOrder } from '../../data/order.js';
import type { Events } from '../../events.js';
import type { TrainingData, Values } from '../loop.js';

/** Settings of configs/schema/parts/training.json that say which pictures are seen, and when. */
export interface PictureSettings {
  data: string;
  split: string;
  evaluate_split: string;
  evaluate_samples: number;
  batch: number;
  micro_batch: number;
  seed: number;
  prefetch: number;
  size: number;
}

export async function openSet(settings: PictureSettings, split: string): Promise<CaptionedSet> {
  if (settings.data === '')
    throw new DrmError(
      'USAGE',
      'pretrain: expected a prepared set; give --data DIR (`drm data prepare emoji --out data/emoji` makes one)',
    );
  return CaptionedSet.open(settings.data, { split: split.split(',') });
}

/** The training pictures in the order that the seed gives, decoded ahead, from any step on. */
export class PictureData implements TrainingData<Batch> {
  #loader: BatchLoader | undefined;
  #at = -1;
  #waited = 0;

  constructor(
    private readonly set: CaptionedSet,
    private readonly settings: PictureSettings,
    private readonly events: Events,
  ) {}

  async next(index: number): Promise<{ batch: Batch; samples: number; waitedSeconds: number }> {
    const { size, seed, batch: length, prefetch } = this.settings;
    if (!this.#loader || this.#at !== index) {
      await this.#loader?.close();
      this.#waited = 0;
      this.#loader = new BatchLoader(this.set, {
        size,
        order: sampleOrder(seed, this.set.length, length),
        firstStep: index,
        ahead: prefetch,
        onWarning: (message) => this.events.emit({ event: 'warning', message }),
      });
    }
    const batch = await this.#loader.next();
    if (!batch) throw new DrmError('INTERNAL', `[data] no batch for step ${index}`);
    this.#at = index + 1;
    const waitedSeconds = this.#loader.waitedSeconds - this.#waited;
    this.#waited = this.#loader.waitedSeconds;
    return { batch, samples: batch.indices.length, waitedSeconds };
  }

  async close(): Promise<void> {
    await this.#loader?.close();
    await this.set.close();
  }
}

/** Batches of a set from its beginning, each sample once. */
export async function* batchesOf(
  set: CaptionedSet,
  count: number,
  { size, batch }: Pick<PictureSettings, 'size' | 'batch'>,
  events: Events,
): AsyncGenerator<Batch> {
  const total = Math.min(count, set.length);
  const loader = new BatchLoader(set, {
    size,
    order: (step) => Array.from({ length: Math.min(batch, total - step * batch) }, (_, i) => step * batch + i),
    steps: Math.ceil(total / batch),
    onWarning: (message) => events.emit({ event: 'warning', message }),
  });
  try {
    for (let b = await loader.next(); b; b = await loader.next()) yield b;
  } finally {
    await loader.close();
  }
}

/** A decoded batch as the trainer takes it. */
export function pixelsOf(batch: Batch): TrainBatch {
  const { indices: samples, pixels, height, width } = batch;
  return { samples, pixels, height, width };
}

/** Splits a batch into passes of at most `length` samples; 0 leaves it whole. */
export function microBatches(batch: TrainBatch, length: number): TrainBatch[] {
  const total = batch.samples.length;
  if (length === 0 || length >= total) return [batch];
  const parts: TrainBatch[] = [];
  for (let from = 0; from < total; from += length) {
    const to = Math.min(total, from + length);
    const part: TrainBatch = { samples: batch.samples.slice(from, to) };
    if (batch.pixels) {
      const each = batch.pixels.length / total;
      Object.assign(part, {
        pixels: batch.pixels.subarray(from * each, to * each),
        height: batch.height,
        width: batch.width,
      });
    }
    if (batch.ids) {
      const each = batch.ids.length / total;
      part.ids = batch.ids.subarray(from * each, to * each);
    }
    if (batch.texts) part.texts = batch.texts.slice(from, to);
    parts.push(part);
  }
  return parts;
}

/** Means over batches, weighted by their samples. */
export async function meanValues(
  batches: AsyncIterable<TrainBatch>,
  measure: (batch: TrainBatch) => Promise<Values>,
): Promise<Values> {
  const sums: Values = {};
  let samples = 0;
  for await (const batch of batches) {
    const values = await measure(batch);
    for (const [name, value] of Object.entries(values)) sums[name] = (sums[name] ?? 0) + value * batch.samples.length;
    samples += batch.samples.length;
  }
  return Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / samples]));
}
