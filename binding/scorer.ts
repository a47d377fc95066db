// A loaded scorer, and what goes with it: distances of image sets, and resampling as scorers expect.
import { DrmError } from './error.js';
import type { ScorerHandle } from './handles.js';
import { runJob } from './job.js';
import { callNative } from './native.js';
import type {
  Bitmap,
  Cmmd,
  Features,
  JobOptions,
  LetterboxRequest,
  LoadOptions,
  ResizeRequest,
  ScorerInfo,
  ScorerSource,
  Scores,
} from './types.js';

export class Scorer {
  readonly info: ScorerInfo;
  #handle: ScorerHandle | undefined;

  private constructor(handle: ScorerHandle) {
    this.#handle = handle;
    this.info = callNative((addon) => addon.scorerInfo(handle));
  }

  /** Reports phase "load" in bytes. Rejects with BAD_FILE, BAD_CONFIG, KEYS_MISMATCH, OUT_OF_MEMORY or DEVICE. */
  static async load(source: ScorerSource, options: LoadOptions, job: JobOptions = {}): Promise<Scorer> {
    return new Scorer(await runJob(job, (addon, listen) => addon.loadScorer(source, options, listen)));
  }

  /** Images of any size, prepared as the scorer's settings say. Reports phase "images". */
  imageFeatures(images: Bitmap[], job: JobOptions = {}): Promise<Features> {
    const handle = this.#alive();
    return runJob(job, (addon, listen) => addon.scorerImageFeatures(handle, { images }, listen));
  }

  /** Rows of `info.tokens` ids each. Reports phase "texts". */
  textFeatures(rows: BigInt64Array[], job: JobOptions = {}): Promise<Features> {
    const handle = this.#alive();
    const captions = rows.map((ids) => ({ ids }));
    return runJob(job, (addon, listen) => addon.scorerTextFeatures(handle, { captions }, listen));
  }

  /** Scores of images by the captions that promptOf names, rows of token ids as the kind reads them. */
  score(
    { images, rows, promptOf }: { images: Bitmap[]; rows: BigInt64Array[]; promptOf: number[] },
    job: JobOptions = {},
  ): Promise<Scores> {
    const handle = this.#alive();
    const captions = rows.map((ids) => ({ ids }));
    return runJob(job, (addon, listen) => addon.scorerScore(handle, { images, captions, promptOf }, listen));
  }

  /** Distances of images, by pairs of their indexes. Rejects with BAD_REQUEST for a kind that compares no images. */
  distances(
    { images, first, second }: { images: Bitmap[]; first: number[]; second: number[] },
    job: JobOptions = {},
  ): Promise<Float32Array> {
    const handle = this.#alive();
    return runJob(job, (addon, listen) => addon.scorerDistances(handle, { images, first, second }, listen));
  }

  /** For the sampling loop. */
  handle(): ScorerHandle {
    return this.#alive();
  }

  /** Gives the weights' memory back, at once or when the last running job has ended. Harmless when repeated. */
  dispose(): void {
    const handle = this.#handle;
    this.#handle = undefined;
    if (handle) callNative((addon) => addon.disposeScorer(handle));
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #alive(): ScorerHandle {
    if (!this.#handle) throw new DrmError('BAD_REQUEST', '[score] this scorer was disposed; load it again');
    return this.#handle;
  }
}

/** CMMD of two sets of image features of one CLIP. Rejects with BAD_REQUEST for fewer than two images a set. */
export function cmmd(a: Features, b: Features, job: JobOptions = {}): Promise<Cmmd> {
  return runJob(job, (addon, listen) => addon.cmmd({ a, b }, listen));
}

/** Pillow's bicubic, bit for bit. Rejects with BAD_REQUEST for an empty image or size. */
export function resizeImages(request: ResizeRequest, job: JobOptions = {}): Promise<Bitmap[]> {
  return runJob(job, (addon, listen) => addon.resizeImages(request, listen));
}

/** A row of 3 x size x size floats an image. Rejects with BAD_REQUEST for an empty image or size. */
export function letterboxImages(request: LetterboxRequest, job: JobOptions = {}): Promise<Features> {
  return runJob(job, (addon, listen) => addon.letterboxImages(request, listen));
}
