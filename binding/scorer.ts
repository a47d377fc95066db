// A loaded CLIP that judges pictures, and what goes with it: distances of picture sets, and resampling as scorers expect.
import { DrmError } from './error.js';
import { runJob } from './job.js';
import { type ClipScorerHandle, callNative } from './native.js';
import type {
  Bitmap,
  ClipScorerInfo,
  ClipScorerSource,
  Cmmd,
  Features,
  JobOptions,
  LoadOptions,
  ResizeRequest,
} from './types.js';

export class ClipScorer {
  readonly info: ClipScorerInfo;
  #handle: ClipScorerHandle | undefined;

  private constructor(handle: ClipScorerHandle) {
    this.#handle = handle;
    this.info = callNative((addon) => addon.clipScorerInfo(handle));
  }

  /** Reports phase "load" in bytes. Rejects with BAD_FILE, BAD_CONFIG, KEYS_MISMATCH, OUT_OF_MEMORY or DEVICE. */
  static async load(source: ClipScorerSource, options: LoadOptions, job: JobOptions = {}): Promise<ClipScorer> {
    return new ClipScorer(await runJob(job, (addon, listen) => addon.loadClipScorer(source, options, listen)));
  }

  /** Pictures of any size, prepared as transformers prepares them. Reports phase "images". */
  imageFeatures(pictures: Bitmap[], job: JobOptions = {}): Promise<Features> {
    const handle = this.#alive();
    return runJob(job, (addon, listen) => addon.clipImageFeatures(handle, { pictures }, listen));
  }

  /** Rows of `info.tokens` ids each. Reports phase "texts". */
  textFeatures(rows: BigInt64Array[], job: JobOptions = {}): Promise<Features> {
    const handle = this.#alive();
    const captions = rows.map((ids) => ({ ids }));
    return runJob(job, (addon, listen) => addon.clipTextFeatures(handle, { captions }, listen));
  }

  /** Gives the weights' memory back, at once or when the last running job has ended. Harmless when repeated. */
  dispose(): void {
    const handle = this.#handle;
    this.#handle = undefined;
    if (handle) callNative((addon) => addon.disposeClipScorer(handle));
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #alive(): ClipScorerHandle {
    if (!this.#handle) throw new DrmError('BAD_REQUEST', '[score] this scorer was disposed; load it again');
    return this.#handle;
  }
}

/** CMMD of two sets of picture features of one CLIP. Rejects with BAD_REQUEST for fewer than two pictures a set. */
export function cmmd(a: Features, b: Features, job: JobOptions = {}): Promise<Cmmd> {
  return runJob(job, (addon, listen) => addon.cmmd({ a, b }, listen));
}

/** Pillow's bicubic, bit for bit. Rejects with BAD_REQUEST for an empty picture or size. */
export function resizePictures(request: ResizeRequest, job: JobOptions = {}): Promise<Bitmap[]> {
  return runJob(job, (addon, listen) => addon.resizePictures(request, listen));
}
