// The frozen parts of a base, used once over a data set: what they make of images and prompts goes into files that a
// Trainer reads.
import { DrmError } from './error.js';
import type { EncoderHandle } from './handles.js';
import { runJob } from './job.js';
import { callNative } from './native.js';
import type { JobOptions, LoadOptions, PipelineSource, PromptTokens, TrainBatch } from './types.js';

export class DataSetEncoder {
  #handle: EncoderHandle | undefined;

  private constructor(handle: EncoderHandle) {
    this.#handle = handle;
  }

  /**
   * The VAE runs in fp32, the text encoders in `options.dtype`, in which the files are written too. Rejects with BAD_FILE,
   * BAD_CONFIG, KEYS_MISMATCH, OUT_OF_MEMORY or DEVICE.
   */
  static async load(
    source: PipelineSource,
    t5Length: number,
    options: LoadOptions,
    job: JobOptions = {},
  ): Promise<DataSetEncoder> {
    const request = { source, t5Length };
    return new DataSetEncoder(await runJob(job, (addon, listen) => addon.loadEncoder(request, options, listen)));
  }

  /** Writes the posterior of the batch's images, tensor `latents` (N, 2, C, h, w). Rejects with DISK. */
  latents(batch: TrainBatch, path: string, job: JobOptions = {}): Promise<void> {
    const handle = this.#alive();
    return runJob(job, (addon, listen) => addon.encodeLatents(handle, { batch, path }, listen));
  }

  /** Writes the embeds of prompts, tensors `sequence` (B, L, D) and `pooled` (B, P). Rejects with DISK. */
  prompts(prompts: PromptTokens[], path: string, job: JobOptions = {}): Promise<void> {
    const handle = this.#alive();
    return runJob(job, (addon, listen) => addon.encodePrompts(handle, { prompts, path }, listen));
  }

  /** Gives the weights' memory back, at once or when the last running job has ended. Harmless when repeated. */
  dispose(): void {
    const handle = this.#handle;
    this.#handle = undefined;
    if (handle) callNative((addon) => addon.disposeEncoder(handle));
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #alive(): EncoderHandle {
    if (!this.#handle) throw new DrmError('BAD_REQUEST', '[encode] this encoder was disposed; load it again');
    return this.#handle;
  }
}
