// A loaded diffusion-based reward model, which scores images and guides sampling.
import { DrmError } from './error.js';
import type { RewardModelHandle } from './handles.js';
import { runJob } from './job.js';
import { callNative } from './native.js';
import type { JobOptions, LoadOptions, RewardInfo, RewardSource, ScoreRequest } from './types.js';

export class RewardModel {
  readonly info: RewardInfo;
  #handle: RewardModelHandle | undefined;

  private constructor(handle: RewardModelHandle) {
    this.#handle = handle;
    this.info = callNative((addon) => addon.rewardModelInfo(handle));
  }

  /** Reports phase "load" in bytes. Rejects with BAD_FILE, BAD_CONFIG, KEYS_MISMATCH, OUT_OF_MEMORY or DEVICE. */
  static async load(source: RewardSource, options: LoadOptions, job: JobOptions = {}): Promise<RewardModel> {
    return new RewardModel(await runJob(job, (addon, listen) => addon.loadRewardModel(source, options, listen)));
  }

  /** One score an image; only differences at one timestep have meaning. Reports phase "score" in images. */
  score(request: ScoreRequest, job: JobOptions = {}): Promise<Float32Array> {
    const handle = this.handle();
    return runJob(job, (addon, listen) => addon.rewardModelScore(handle, request, listen));
  }

  /** For the calls that take a reward model. Throws BAD_REQUEST after dispose(). */
  handle(): RewardModelHandle {
    if (!this.#handle) throw new DrmError('BAD_REQUEST', '[reward] this reward model was disposed; load it again');
    return this.#handle;
  }

  /** Gives the weights' memory back, at once or when the last running job has ended. Harmless when repeated. */
  dispose(): void {
    const handle = this.#handle;
    this.#handle = undefined;
    if (handle) callNative((addon) => addon.disposeRewardModel(handle));
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
