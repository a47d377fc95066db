// Batches of decoded pictures, prepared ahead of the training that uses them.
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { CaptionedSet } from './captioned_set.js';
import { decodePicture, squarePicture } from './picture.js';
import { Drop } from './source.js';

export interface Batch {
  step: number;
  /** Samples of the set, in the order asked for, without those whose pictures are bad. */
  indices: number[];
  /** indices.length × height × width × 3, RGB, row by row. */
  pixels: Uint8Array;
  height: number;
  width: number;
}

export interface LoaderOptions {
  /** Edge of the squares given out; larger pictures are reduced to it. */
  size: number;
  /** Samples of each step; see sampleOrder. */
  order: (step: number) => readonly number[];
  /** Where to begin, for a resumed run. */
  firstStep?: number;
  /** Steps from 0 that there are; without end by default. */
  steps?: number;
  /** Batches decoded ahead, which bounds the memory. */
  ahead?: number;
  /** A set whose decoded pictures fit into so many bytes is decoded once and kept. */
  keepBytes?: number;
  /** Told once for each bad picture. */
  onWarning?: (message: string) => void;
}

/** Decoded originals are large: so many pictures are at work at once, whatever the batch. Also keeps libuv's threads busy. */
const AT_ONCE = 8;

/** Lets in so many at a time, first come, first served. */
class Gate {
  #free = AT_ONCE;
  readonly #waiting: (() => void)[] = [];

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((enter) => this.#waiting.push(enter));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}

/** What is wrong with a picture; `about` is what it is said of, once. */
interface Fault {
  about: string;
  message: string;
}

export class BatchLoader {
  readonly #gate = new Gate();
  readonly #warned = new Set<string>();
  readonly #set: CaptionedSet;
  readonly #options: Required<Omit<LoaderOptions, 'onWarning'>> & Pick<LoaderOptions, 'onWarning'>;
  readonly #queue: Promise<Batch | DrmError>[] = [];
  readonly #bad = new Map<number, Fault>();
  /** All decoded pictures of a small set; undefined for a large one. */
  #kept: Uint8Array | undefined;
  #isKept: Uint8Array = new Uint8Array(0);
  #next: number;
  #waited = 0;
  #closed = false;

  constructor(set: CaptionedSet, options: LoaderOptions) {
    this.#set = set;
    this.#options = {
      firstStep: 0,
      steps: Number.POSITIVE_INFINITY,
      ahead: 4,
      keepBytes: 1 << 30,
      ...options,
    };
    this.#next = this.#options.firstStep;
    const bytes = set.length * this.#pictureBytes;
    if (bytes <= this.#options.keepBytes) {
      this.#kept = new Uint8Array(bytes); // the system gives pages as they are written
      this.#isKept = new Uint8Array(set.length);
    }
  }

  get #pictureBytes(): number {
    return this.#options.size ** 2 * 3;
  }

  /** Seconds that next() had to wait for data. */
  get waitedSeconds(): number {
    return this.#waited;
  }

  /** Pictures found bad so far. */
  get badPictures(): number {
    return this.#bad.size;
  }

  /** The next step's batch; undefined after the last. Rejects with DrmError BAD_FILE when none of its pictures can be used. */
  async next(): Promise<Batch | undefined> {
    if (this.#closed) throw new DrmError('INTERNAL', '[data] next() on a closed loader');
    this.#fill();
    const first = this.#queue.shift();
    if (!first) return undefined;
    const start = performance.now();
    const batch = await first;
    this.#waited += (performance.now() - start) / 1000;
    this.#fill();
    if (batch instanceof DrmError) throw batch;
    return batch;
  }

  #fill(): void {
    while (!this.#closed && this.#queue.length < this.#options.ahead && this.#next < this.#options.steps)
      this.#queue.push(
        this.#load(this.#next++).catch((error: unknown) =>
          error instanceof DrmError ? error : new DrmError('INTERNAL', `[data] ${String(error)}`, {}, { cause: error }),
        ),
      );
  }

  async #load(step: number): Promise<Batch> {
    const { order, size } = this.#options;
    const asked = order(step);
    const each = this.#pictureBytes;
    const pixels = new Uint8Array(asked.length * each);
    const good = await Promise.all(
      asked.map((index, row) => this.#picture(index, pixels.subarray(row * each, (row + 1) * each))),
    );
    const indices = asked.filter((_, row) => good[row]);
    if (indices.length === 0)
      throw new DrmError(
        'BAD_FILE',
        `[data] step ${step}: none of its ${asked.length} pictures can be used (${this.#bad.get(asked[0] as number)?.message}); ${this.#bad.size} of ${this.#set.length} pictures of ${this.#set.folder} are bad so far: check the folder with \`drm data inspect --verify\``,
        { file: this.#set.folder },
      );
    let row = 0;
    for (const [from, isGood] of good.entries()) {
      if (!isGood) continue;
      if (from !== row) pixels.copyWithin(row * each, from * each, (from + 1) * each);
      row += 1;
    }
    return { step, indices, pixels: pixels.subarray(0, row * each), height: size, width: size };
  }

  /** Writes the picture's pixels; false when it is bad. */
  async #picture(index: number, to: Uint8Array): Promise<boolean> {
    const at = index * this.#pictureBytes;
    if (this.#kept && this.#isKept[index]) {
      to.set(this.#kept.subarray(at, at + this.#pictureBytes));
      return true;
    }
    if (this.#bad.has(index)) return false;
    const pixels = await this.#gate.run(async () => (this.#closed ? undefined : this.#decode(index)));
    if (pixels === undefined) return false;
    if (!(pixels instanceof Uint8Array)) {
      this.#bad.set(index, pixels);
      if (!this.#warned.has(pixels.about)) this.#options.onWarning?.(`${pixels.message}; left out from now on`);
      this.#warned.add(pixels.about);
      return false;
    }
    to.set(pixels);
    if (this.#kept) {
      this.#kept.set(pixels, at);
      this.#isKept[index] = 1;
    }
    return true;
  }

  async #decode(index: number): Promise<Uint8Array | Fault> {
    const { size } = this.#options;
    const file = join(this.#set.folder, this.#set.shardOf(index).name);
    let bytes: Buffer;
    try {
      bytes = await this.#set.bytes(index);
    } catch (error) {
      return { about: file, message: (error as Error).message }; // a lost shard is named once, not by each picture
    }
    const about = `[data] ${file}: ${this.#set.key(index)}`;
    const picture = await decodePicture(bytes);
    if (picture instanceof Drop) return { about, message: `${about}: ${picture.detail}` };
    const square = await squarePicture(picture, size);
    if (square) return square.pixels;
    return { about, message: `${about}: ${picture.width}×${picture.height} is smaller than ${size}×${size}` };
  }

  /** Ends the reading ahead and gives the memory back. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#queue.splice(0));
    this.#kept = undefined;
    this.#isKept = new Uint8Array(0);
  }
}
