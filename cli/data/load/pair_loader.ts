// Batches of preference pairs, prepared ahead of the training that uses them: prompts, and both images decoded.

import { DrmError } from '../../../binding/error.js';
import type { PromptTokens, TrainBatch } from '../../../binding/types.js';
import { Drop } from '../io/drop.js';
import { decodeImage, squashImage } from '../io/image.js';
import { DecodedImages, type Fault } from './decoded.js';
import { Prefetcher, type PrefetchOptions } from './prefetcher.js';

export interface Pair {
  key: string;
  prompt: string;
  /** Of the set's images. */
  chosen: number;
  rejected: number;
  /** Neither was preferred. */
  tie?: true;
}

/** What is needed of a set (see PairSet). */
export interface Pairs {
  readonly folder: string;
  readonly length: number;
  readonly imageCount: number;
  record(index: number): Pair | Promise<Pair>;
  imageId(index: number): string;
  /** The image's file. Rejects with DrmError BAD_FILE when it cannot be read. */
  image(index: number): Promise<Uint8Array>;
}

export interface PairBatch {
  step: number;
  /** Pairs in all passes. */
  count: number;
  passes: PairPass[];
}

/** A pass as the trainer takes it, but for the rows of prompts. */
export interface PairPass extends TrainBatch {
  /** Images: the chosen of all pairs, then the rejected. */
  images: number[];
  captions: string[];
}

export interface PairLoaderOptions extends PrefetchOptions {
  /** Edge of the squares that images are resized to, their shape not kept. */
  size: number;
  /** Pairs of each step; see sampleOrder. */
  order: (step: number) => readonly number[];
  /** The steps' pairs are a part of what is trained on: a batch may be empty, since other processes have theirs. */
  isPart?: boolean;
  /** Pairs of a pass; 0 is all of a step. */
  pass: number;
  /** Number of the set's first image, where several sets share a trainer. */
  firstImage?: number;
  /** Whether images are decoded; where the trainer has their latents they need not be. */
  pixels: boolean;
  /** Token ids of a prompt, where the trainer encodes prompts as they come. */
  tokens?: (prompt: string) => Promise<PromptTokens>;
  /** A set whose decoded images fit into so many bytes is decoded once and kept. */
  keepBytes?: number;
  /** Told once for each bad image. */
  onWarning?: (message: string) => void;
}

interface GoodPair {
  index: number;
  chosen: number;
  rejected: number;
  prompt: string;
  /** Their pixels; empty where they are not decoded. */
  squares: [Uint8Array, Uint8Array];
}

/** A set's images as squares of `size`. */
export function squaresOf(
  set: Pairs,
  { size, keepBytes, onWarning }: Pick<PairLoaderOptions, 'size' | 'keepBytes' | 'onWarning'>,
): DecodedImages {
  return new DecodedImages({
    count: set.imageCount,
    bytes: size ** 2 * 3,
    decode: (image) => decodeSquare(set, image, size),
    ...(keepBytes !== undefined && { keepBytes }),
    ...(onWarning && { onWarning }),
  });
}

async function decodeSquare(set: Pairs, index: number, size: number): Promise<Uint8Array | Fault> {
  const image = await decodeImage(await set.image(index));
  if (!(image instanceof Drop)) return (await squashImage(image, size)).pixels;
  const about = `[data] ${set.folder}: image ${set.imageId(index)}`;
  return { about, message: `${about}: ${image.detail}` };
}

/** Of each prompt; those that pairs share are encoded once. */
async function tokensOf(prompts: string[], encode: (prompt: string) => Promise<PromptTokens>): Promise<PromptTokens[]> {
  const distinct = [...new Set(prompts)];
  const tokens = await Promise.all(distinct.map(encode));
  return prompts.map((prompt) => tokens[distinct.indexOf(prompt)] as PromptTokens);
}

export class PairLoader {
  readonly #prefetcher: Prefetcher<PairBatch>;
  readonly #images: DecodedImages | undefined;
  readonly #leftOut = new Set<number>();

  constructor(
    private readonly set: Pairs,
    private readonly options: PairLoaderOptions,
  ) {
    this.#prefetcher = new Prefetcher((step) => this.#load(step), options);
    this.#images = options.pixels ? squaresOf(set, options) : undefined;
  }

  /** Seconds that next() had to wait for data. */
  get waitedSeconds(): number {
    return this.#prefetcher.waitedSeconds;
  }

  /** Pairs found so far that cannot be used, ties among them. */
  get badPairs(): number {
    return this.#leftOut.size;
  }

  get badImages(): number {
    return this.#images?.badCount ?? 0;
  }

  /**
   * The next step's batch; undefined after the last. Where no pair of a step can be used, a pass goes on without the step,
   * and training takes the pairs of the next step in their place: either way a function of the set, as the order is. Rejects
   * with DrmError BAD_FILE when no pair of the set can be used, or when a shard cannot be read.
   */
  async next(): Promise<PairBatch | undefined> {
    let batch = await this.#prefetcher.next();
    while (batch?.count === 0 && !this.options.isPart) batch = await this.#prefetcher.next();
    return batch;
  }

  #unusable(what: string): DrmError {
    const { folder } = this.set;
    return new DrmError('BAD_FILE', `${what}; check it with \`drm data inspect ${folder} --verify\``, { file: folder });
  }

  async #load(step: number): Promise<PairBatch> {
    const { order, steps, isPart, onWarning } = this.options;
    const { folder, length } = this.set;
    // Two epochs' length of pairs holds each of the set, wherever it begins.
    for (let from = step, tried = 0; tried < 2 * length; from++) {
      const asked = order(from);
      const pairs = await this.#pairsOf(asked);
      if (pairs.length > 0 || steps !== undefined || isPart || this.#prefetcher.closed) {
        if (from > step)
          onWarning?.(`[data] step ${step}: none of its pairs can be used; those of step ${from} take their place`);
        return this.#batch(step, pairs);
      }
      tried += asked.length;
    }
    throw this.#unusable(`[data] ${folder}: expected pairs that can be used, found none among ${length}`);
  }

  /** The good ones of these pairs. */
  async #pairsOf(asked: readonly number[]) {
    const loaded = await Promise.all(asked.map((index) => this.#pair(index))).catch((error: unknown) => {
      // A shard that was there at the start: what is left of the set is not what the run was asked to learn from.
      throw error instanceof DrmError && error.code === 'BAD_FILE' ? this.#unusable(error.message) : error;
    });
    return loaded.filter((pair) => pair !== undefined);
  }

  async #batch(step: number, good: GoodPair[]): Promise<PairBatch> {
    const { pass, tokens, size, firstImage = 0 } = this.options;
    const passes: PairPass[] = [];
    const each = size ** 2 * 3;
    const length = pass > 0 ? pass : good.length;
    for (let from = 0; from < good.length; from += length) {
      const pairs = good.slice(from, from + length);
      const made: PairPass = {
        samples: pairs.map(({ index }) => index),
        images: [...pairs.map(({ chosen }) => chosen), ...pairs.map(({ rejected }) => rejected)].map(
          (image) => image + firstImage,
        ),
        captions: pairs.map(({ prompt }) => prompt),
      };
      if (this.#images) {
        const pixels = new Uint8Array(2 * pairs.length * each);
        for (const [row, { squares }] of pairs.entries()) {
          pixels.set(squares[0], row * each);
          pixels.set(squares[1], (pairs.length + row) * each);
        }
        Object.assign(made, { pixels, height: size, width: size });
      }
      if (tokens) made.prompts = await tokensOf(made.captions, tokens);
      passes.push(made);
    }
    return { step, count: good.length, passes };
  }

  /** Undefined when one of its images is bad, or when it is a tie, which teaches nothing. */
  async #pair(index: number): Promise<GoodPair | undefined> {
    const { chosen, rejected, prompt, tie } = await this.set.record(index);
    const none = new Uint8Array(0);
    const pixels = async (image: number) => (this.#images ? this.#images.get(image) : none);
    const [first, second] = tie ? [] : await Promise.all([pixels(chosen), pixels(rejected)]);
    if (first && second) return { index, chosen, rejected, prompt, squares: [first, second] };
    this.#leftOut.add(index);
    return undefined;
  }

  /** Ends the reading ahead and gives the memory back. */
  async close(): Promise<void> {
    this.#images?.close();
    await this.#prefetcher.close();
  }
}
