// A loaded Stable Diffusion 3 pipeline.
import { DrmError } from './error.js';
import type { PipelineHandle } from './handles.js';
import { runJob } from './job.js';
import { callNative } from './native.js';
import type { JobOptions, LoadOptions, PipelineInfo, PipelineSource, SampleRequest, SampleSummary } from './types.js';

export class Pipeline {
  readonly info: PipelineInfo;
  #handle: PipelineHandle | undefined;

  private constructor(handle: PipelineHandle, info: PipelineInfo) {
    this.#handle = handle;
    this.info = info;
  }

  /** Reports phase "load" in bytes. Rejects with BAD_FILE, BAD_CONFIG, KEYS_MISMATCH, OUT_OF_MEMORY or DEVICE. */
  static async load(source: PipelineSource, options: LoadOptions, job: JobOptions = {}): Promise<Pipeline> {
    const handle = await runJob(job, (addon, listen) => addon.loadPipeline(source, options, listen));
    return new Pipeline(
      handle,
      callNative((addon) => addon.pipelineInfo(handle)),
    );
  }

  /**
   * Images and previews arrive as events ("image", "preview"; their `bytes` are RGB, row by row). Calls on one pipeline
   * run one after the other. Rejects with BAD_REQUEST, NOT_FINITE, OUT_OF_MEMORY, CANCELLED or DISK.
   */
  async sample(request: SampleRequest, job: JobOptions = {}): Promise<SampleSummary> {
    const handle = this.#handle;
    if (!handle) throw new DrmError('BAD_REQUEST', '[sample] this pipeline was disposed; load it again');
    return await runJob(job, (addon, listen) => addon.sample(handle, request, listen));
  }

  /** Gives the weights' memory back, at once or when the last running job has ended. Harmless when repeated. */
  dispose(): void {
    const handle = this.#handle;
    this.#handle = undefined;
    if (handle) callNative((addon) => addon.disposePipeline(handle));
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
