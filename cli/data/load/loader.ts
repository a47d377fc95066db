// Batches of decoded images, prepared ahead of the training that uses them.
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { Drop } from '../io/drop.js';
import { decodeImage, squareImage } from '../io/image.js';
import type { CaptionedSet } from '../prepared/captioned_set.js';
import { DecodedImages, type Fault } from './decoded.js';
import { Prefetcher, type PrefetchOptions } from './prefetcher.js';

export interface Batch {
  step: number;
  /** Samples of the set, in the order asked for, without those whose images are bad. */
  indices: number[];
  /** indices.length × height × width × 3, RGB, row by row. */
  pixels: Uint8Array;
  height: number;
  width: number;
}

export interface LoaderOptions extends PrefetchOptions {
  /** Edge of the squares given out; larger images are reduced to it. */
  size: number;
  /** Samples of each step; see sampleOrder. */
  order: (step: number) => readonly number[];
  /** Steps from 0 of a pass over samples; without it training, which has no end. */
  steps?: number;
  /** The steps' samples are a part of what is trained on: a batch may be empty, since other processes have theirs. */
  isPart?: boolean;
  /** A set whose decoded images fit into so many bytes is decoded once and kept. */
  keepBytes?: number;
  /** Told once for each bad image. */
  onWarning?: (message: string) => void;
}

export class BatchLoader {
  readonly #prefetcher: Prefetcher<Batch>;
  readonly #images: DecodedImages;
  #isGiven = false;

  constructor(
    private readonly set: CaptionedSet,
    private readonly options: LoaderOptions,
  ) {
    this.#prefetcher = new Prefetcher((step) => this.#load(step), options);
    this.#images = new DecodedImages({
      ...options,
      count: set.length,
      bytes: this.#imageBytes,
      decode: (index) => this.#decode(index),
    });
  }

  get #imageBytes(): number {
    return this.options.size ** 2 * 3;
  }

  /** Seconds that next() had to wait for data. */
  get waitedSeconds(): number {
    return this.#prefetcher.waitedSeconds;
  }

  /** Images found bad so far. */
  get badImages(): number {
    return this.#images.badCount;
  }

  /**
   * The next step's batch; undefined after the last. Where every image of a step is bad, a pass goes on without the step,
   * and training takes the next step's images that are not: either way a function of the set, as the order is. Rejects
   * with DrmError BAD_FILE when none of the set can be used; also when a step's images are lost, which may come back, so
   * that a resumed run sees what it would have seen.
   */
  async next(): Promise<Batch | undefined> {
    let batch = await this.#prefetcher.next();
    while (batch?.indices.length === 0 && !this.options.isPart) batch = await this.#prefetcher.next();
    this.#isGiven ||= batch !== undefined;
    if (!this.#isGiven && this.badImages > 0) throw this.#unusable(0);
    return batch;
  }

  async #load(step: number): Promise<Batch> {
    const { order, steps, isPart, onWarning } = this.options;
    // Two epochs' length of samples holds each of the set, wherever it begins.
    for (let from = step, tried = 0; tried < 2 * this.set.length; from++) {
      const asked = order(from);
      const batch = await this.#read(step, asked);
      if (batch.indices.length > 0) {
        if (from > step)
          onWarning?.(`[data] step ${step}: none of its images can be used; those of step ${from} take their place`);
        return batch;
      }
      if (this.#prefetcher.closed) return batch;
      if (asked.some((index) => this.#images.faultOf(index)?.shardFault)) break;
      if (steps !== undefined || isPart) return batch;
      tried += asked.length;
    }
    throw this.#unusable(step);
  }

  #unusable(step: number): DrmError {
    const { folder, length } = this.set;
    const asked = this.options.order(step);
    const fault = this.#images.faultOf(asked[0] as number)?.message;
    return new DrmError(
      'BAD_FILE',
      `[data] step ${step}: none of its ${asked.length} images can be used (${fault}); ${this.badImages} of ${length} images of ${folder} are bad so far: check the folder with \`drm data inspect --verify\``,
      { file: folder },
    );
  }

  /** Of these samples the good ones. */
  async #read(step: number, asked: readonly number[]): Promise<Batch> {
    const { size } = this.options;
    const each = this.#imageBytes;
    const pixels = new Uint8Array(asked.length * each);
    const good = await Promise.all(
      asked.map(async (index, row) => {
        const image = await this.#images.get(index);
        if (image) pixels.set(image, row * each);
        return image !== undefined;
      }),
    );
    const indices = asked.filter((_, row) => good[row]);
    let row = 0;
    for (const [from, isGood] of good.entries()) {
      if (!isGood) continue;
      if (from !== row) pixels.copyWithin(row * each, from * each, (from + 1) * each);
      row += 1;
    }
    return { step, indices, pixels: pixels.subarray(0, row * each), height: size, width: size };
  }

  async #decode(index: number): Promise<Uint8Array | Fault> {
    const { size } = this.options;
    const file = join(this.set.folder, this.set.shardOf(index).name);
    let bytes: Buffer;
    try {
      bytes = await this.set.bytes(index);
    } catch (error) {
      if (!(error instanceof DrmError && error.code === 'BAD_FILE')) throw error;
      return { about: file, message: (error as Error).message, shardFault: true }; // a lost shard is named once, not by each image
    }
    const about = `[data] ${file}: ${this.set.key(index)}`;
    const image = await decodeImage(bytes);
    if (image instanceof Drop) return { about, message: `${about}: ${image.detail}` };
    const square = await squareImage(image, size);
    if (square) return square.pixels;
    return { about, message: `${about}: ${image.width}×${image.height} is smaller than ${size}×${size}` };
  }

  /** Ends the reading ahead and gives the memory back. */
  async close(): Promise<void> {
    this.#images.close();
    await this.#prefetcher.close();
  }
}
