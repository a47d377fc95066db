// What every objective on captioned images needs: the set, batches ahead of the training, held-out batches.
import { DrmError } from '../../../binding/error.js';
import type { TrainBatch, WeightedMetrics } from '../../../binding/types.js';
import type { Events } from '../../common/events.js';
import { type Batch, BatchLoader } from '../../data/load/loader.js';
import { CaptionedSet } from '../../data/prepared/captioned_set.js';
import { readManifest } from '../../data/prepared/manifest.js';
import type { Team } from '../../parallel/team.js';
import { sampleOrder } from '../../random/order.js';
import type { TrainingData, Values } from '../training_task.js';

/** Settings of configs/schema/parts/training.json that say which images are seen, and when. */
export interface ImageSettings {
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

/** The samples to train on, or those to measure with. Throws DrmError naming the setting at fault. */
async function openSet(settings: ImageSettings, which: 'split' | 'evaluate_split'): Promise<CaptionedSet> {
  const { data, batch } = settings;
  if (data === '')
    throw new DrmError(
      'USAGE',
      'pretrain: expected a prepared set; give --data DIR (`drm data prepare emoji --out data/emoji` makes one)',
    );
  const wanted = settings[which].split(',').map((name) => name.trim());
  const { splits } = readManifest(data);
  const missing = wanted.filter((name) => !Object.hasOwn(splits, name));
  if (missing.length > 0)
    throw new DrmError(
      'BAD_CONFIG',
      `[pretrain] ${which}: expected splits of ${data} (${Object.keys(splits).join(', ')}), found ${missing.join(', ')}; choose one with --set ${which}=NAME${which === 'evaluate_split' ? ', or prepare the set with --hold-out PERCENT' : ''}`,
      { key: which, found: missing.join(', '), file: data },
    );
  const set = await CaptionedSet.open(data, { split: wanted });
  // Draws are keyed by step and sample: one that comes twice in a step would teach nothing the second time.
  if (which === 'split' && batch > set.length)
    throw new DrmError(
      'BAD_CONFIG',
      `[pretrain] batch: expected at most ${set.length}, all samples of ${wanted.join(', ')} in ${data}, found ${batch}; give --batch ${set.length} or less`,
      { key: 'batch', expected: String(set.length), found: String(batch) },
    );
  return set;
}

export interface Sets {
  train: CaptionedSet;
  heldOut: CaptionedSet;
}

export const openSets = async (settings: ImageSettings): Promise<Sets> => ({
  train: await openSet(settings, 'split'),
  heldOut: await openSet(settings, 'evaluate_split'),
});

/** Gives back what a task on images holds. */
export const closing =
  (trainer: { dispose(): void }, ...sets: CaptionedSet[]) =>
  async (): Promise<void> => {
    trainer.dispose();
    for (const set of sets) await set.close();
  };

/** So many bad images are named: a set that is full of them should not hide all else. */
const NAMED = 20;

/** Tells of each bad image once, whichever loaders meet it. */
export function imageWarnings(events: Events): (message: string) => void {
  const told = new Set<string>();
  return (message) => {
    if (told.has(message) || told.size > NAMED) return;
    told.add(message);
    events.emit({
      event: 'warning',
      message: told.size <= NAMED ? message : `more than ${NAMED} images are bad; the others are left out unnamed`,
    });
  };
}

/** The training images in the order that the seed gives, decoded ahead, from any step on. */
export class ImageData implements TrainingData<Batch> {
  #loader: BatchLoader | undefined;
  #at = -1;
  #waited = 0;

  constructor(
    private readonly set: CaptionedSet,
    private readonly settings: ImageSettings,
    private readonly warn: (message: string) => void,
    private readonly team: Team,
  ) {}

  async next(index: number): Promise<{ batch: Batch; samples: number; waitedSeconds: number }> {
    const { size, seed, batch: length, prefetch } = this.settings;
    if (!this.#loader || this.#at !== index) {
      await this.#loader?.close();
      this.#waited = 0;
      const order = sampleOrder(seed, this.set.length, length);
      this.#loader = new BatchLoader(this.set, {
        size,
        order: (step) => this.team.part(order(step)),
        isPart: !this.team.alone,
        firstStep: index,
        ahead: prefetch,
        onWarning: this.warn,
      });
    }
    const batch = await this.#loader.next();
    if (!batch) throw new DrmError('INTERNAL', `[data] no batch for step ${index}`);
    this.#at = index + 1;
    const waitedSeconds = this.#loader.waitedSeconds - this.#waited;
    this.#waited = this.#loader.waitedSeconds;
    return { batch, samples: batch.indices.length, waitedSeconds };
  }

  facts(): Record<string, number> {
    return leftOut(this.#loader?.badImages ?? 0);
  }

  async close(): Promise<void> {
    await this.#loader?.close();
  }
}

/** Bad images, as a fact of the run's last line. */
export const leftOut = (images: number): Record<string, number> => (images > 0 ? { images_left_out: images } : {});

/** Batches of a set from its beginning, each sample once. */
export async function* batchesOf(
  set: CaptionedSet,
  count: number,
  { size, batch }: Pick<ImageSettings, 'size' | 'batch'>,
  warn: (message: string) => void,
): AsyncGenerator<Batch> {
  const total = Math.min(count, set.length);
  const loader = new BatchLoader(set, {
    size,
    order: (step) => Array.from({ length: Math.min(batch, total - step * batch) }, (_, i) => step * batch + i),
    steps: Math.ceil(total / batch),
    onWarning: warn,
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

/** Means over the samples of all batches. */
export async function meanValues(
  batches: AsyncIterable<TrainBatch>,
  measure: (batch: TrainBatch) => Promise<WeightedMetrics>,
): Promise<Values> {
  const sums = new Map<string, { sum: number; weight: number }>();
  for await (const batch of batches)
    for (const [name, { mean, weight }] of Object.entries(await measure(batch))) {
      const so = sums.get(name) ?? { sum: 0, weight: 0 };
      sums.set(name, { sum: so.sum + mean * weight, weight: so.weight + weight });
    }
  return Object.fromEntries([...sums].map(([name, { sum, weight }]) => [name, sum / weight]));
}
