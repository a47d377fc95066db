// One training run's state: parameters, optimizer, averages. The loop around it is the caller's.
import { DrmError } from './error.js';
import type { PolicyHandle, TrainerHandle } from './handles.js';
import { runJob } from './job.js';
import { callNative, type Native, type NativeJob, type NativeListener } from './native.js';
import type { ProcessGroup } from './process_group.js';
import type {
  Bitmap,
  Dtype,
  JobOptions,
  Metrics,
  NativeEvent,
  ObjectiveSpec,
  PolicySample,
  PolicySampleRequest,
  PolicySpec,
  PreviewRequest,
  PromptTokens,
  Rollout,
  RolloutRequest,
  StepRequest,
  TrainBatch,
  TrainerOptions,
  WeightedMetrics,
} from './types.js';

const disposed = () => new DrmError('BAD_REQUEST', '[train] this trainer was disposed; create it again');

export class Trainer {
  /** Numbers that are trained. */
  readonly parameters: number;
  #handle: TrainerHandle | undefined;

  protected constructor(
    handle: TrainerHandle,
    /** Whether its state is spread over several processes, so that save() takes all of them. */
    readonly spread: boolean,
  ) {
    this.#handle = handle;
    this.parameters = callNative((addon) => addon.trainerParameters(handle));
  }

  /**
   * Rejects with BAD_FILE, BAD_CONFIG, KEYS_MISMATCH, BAD_REQUEST, OUT_OF_MEMORY or DEVICE. With a group, this is one of
   * several trainers of one model: all must create theirs, step(), save() and restore() in the same order.
   */
  static async create(
    objective: ObjectiveSpec,
    options: TrainerOptions & { zero: boolean },
    job: JobOptions & { group?: ProcessGroup | undefined } = {},
  ): Promise<Trainer> {
    const group = job.group?.handle;
    const handle = await runJob(job, (addon, listen) => addon.createTrainer(objective, options, listen, group));
    return new Trainer(handle, group !== undefined && options.zero);
  }

  /**
   * One optimizer step over micro-batches. Gives the objective's metrics, `loss` and `grad_norm`. A step that is aborted,
   * or whose loss is not finite (NOT_FINITE), leaves the weights as they were; so does one whose gradients overflow fp16,
   * which has no `grad_norm` and counts into `overflows`.
   */
  step(request: StepRequest, job: JobOptions = {}): Promise<Metrics> {
    return this.#run(job, (addon, handle, listen) => addon.trainerStep(handle, request, listen));
  }

  /** Held-out metrics of the averaged weights: the same batch gives the same numbers for the same weights. */
  evaluate(batch: TrainBatch, job: JobOptions = {}): Promise<WeightedMetrics> {
    return this.#run(job, (addon, handle, listen) => addon.trainerEvaluate(handle, batch, listen));
  }

  /** Flow and reward: encodes the batch's images once; later batches name them without pixels. */
  cacheLatents(batch: TrainBatch, job: JobOptions = {}): Promise<void> {
    return this.#run(job, (addon, handle, listen) => addon.trainerCacheLatents(handle, batch, listen));
  }

  /** Flow and reward: all prompts that batches refer to by row; for flow, row 0 is the empty prompt. */
  cachePrompts(prompts: PromptTokens[], job: JobOptions = {}): Promise<void> {
    return this.#run(job, (addon, handle, listen) => addon.trainerCachePrompts(handle, { prompts }, listen));
  }

  /** A file of a DataSetEncoder in the place of cacheLatents: `images` are the numbers of its rows. Rejects with BAD_FILE. */
  loadLatents(path: string, images: number[], job: JobOptions = {}): Promise<void> {
    return this.#run(job, (addon, handle, listen) => addon.trainerLoadLatents(handle, { path, images }, listen));
  }

  /** Files of a DataSetEncoder in the place of cachePrompts; rows count through them. Rejects with BAD_FILE. */
  loadPrompts(paths: string[], job: JobOptions = {}): Promise<void> {
    return this.#run(job, (addon, handle, listen) => addon.trainerLoadPrompts(handle, { paths }, listen));
  }

  /** Flow only: images of the averaged weights, RGB row by row, in the order asked for. */
  preview(request: PreviewRequest, job: JobOptions = {}): Promise<Bitmap[]> {
    return painting(job, (own) =>
      this.#run(own, (addon, handle, listen) => addon.trainerPreview(handle, request, listen)),
    ).then(({ images }) => images);
  }

  /** All that step() changes, as one safetensors file. Rejects with DISK. */
  save(path: string, job: JobOptions = {}): Promise<void> {
    return this.#run(job, (addon, handle, listen) => addon.trainerSave(handle, { path }, listen));
  }

  /** Rejects with BAD_FILE, KEYS_MISMATCH or BAD_SHAPE. */
  restore(path: string, job: JobOptions = {}): Promise<void> {
    return this.#run(job, (addon, handle, listen) => addon.trainerRestore(handle, { path }, listen));
  }

  /**
   * The averaged weights as the ecosystem reads them; of a reward model as `layout` says: what is run, or all blocks as the
   * authors' code wants them. Rejects with DISK, and with BAD_REQUEST when there is no base to take skipped blocks from.
   */
  export(
    path: string,
    dtype: Dtype,
    { layout, ...job }: JobOptions & { layout?: 'drm' | 'authors' } = {},
  ): Promise<void> {
    const request = layout === undefined ? { path, dtype } : { path, dtype, layout };
    return this.#run(job, (addon, handle, listen) => addon.trainerExport(handle, request, listen));
  }

  /** Gives the memory back, at once or when the last running job has ended. Harmless when repeated. */
  dispose(): void {
    const handle = this.#handle;
    this.#handle = undefined;
    if (handle) callNative((addon) => addon.disposeTrainer(handle));
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  async #run<Result>(
    job: JobOptions,
    start: (addon: Native, handle: TrainerHandle, listen: NativeListener) => NativeJob<Result>,
  ): Promise<Result> {
    const handle = this.#handle;
    if (!handle) throw disposed();
    return await runJob(job, (addon, listen) => start(addon, handle, listen));
  }
}

/** A job whose "image" events are its images, in order. */
async function painting<Result>(
  job: JobOptions,
  run: (job: JobOptions) => Promise<Result>,
): Promise<{ value: Result; images: Bitmap[] }> {
  const images: Bitmap[] = [];
  const onEvent = (event: NativeEvent) => {
    if (event.kind === 'image' && event.bytes)
      images.push({ pixels: event.bytes, width: Number(event.width), height: Number(event.height) });
    job.onEvent?.(event);
  };
  return { value: await run({ ...job, onEvent }), images };
}

/** The trainer of a policy's adapter, which collects what it learns from. */
export class PolicyTrainer extends Trainer {
  #policy: PolicyHandle | undefined;

  private constructor(trainer: TrainerHandle, policy: PolicyHandle, spread: boolean) {
    super(trainer, spread);
    this.#policy = policy;
  }

  /** As Trainer.create(). */
  static async of(
    policy: PolicySpec,
    options: TrainerOptions & { zero: boolean },
    job: JobOptions & { group?: ProcessGroup | undefined } = {},
  ): Promise<PolicyTrainer> {
    const group = job.group?.handle;
    const made = await runJob(job, (addon, listen) => addon.createPolicyTrainer(policy, options, listen, group));
    return new PolicyTrainer(made.trainer, made.policy, group !== undefined && options.zero);
  }

  /**
   * Trajectories of the current adapter, kept for the updates of this iteration. Rejects with BAD_REQUEST, BAD_CONFIG (a
   * reward model of another base) or NOT_FINITE.
   */
  async rollout(request: RolloutRequest, job: JobOptions = {}): Promise<Rollout> {
    const { value, images } = await painting(job, (own) =>
      this.#job(own, (addon, policy, listen) => addon.policyRollout(policy, request, listen)),
    );
    return { ...value, images };
  }

  /** Largest |ratio - 1| over these batches. Before the first update it is 0 up to rounding. */
  ratioError(batches: TrainBatch[], job: JobOptions = {}): Promise<number> {
    return this.#job(job, (addon, policy, listen) => addon.policyRatioError(policy, { batches }, listen));
  }

  /** Images by plain sampling. */
  async sample(request: PolicySampleRequest, job: JobOptions = {}): Promise<PolicySample> {
    const { value, images } = await painting(job, (own) =>
      this.#job(own, (addon, policy, listen) => addon.policySample(policy, request, listen)),
    );
    return { scores: value, images };
  }

  override dispose(): void {
    const policy = this.#policy;
    this.#policy = undefined;
    if (policy) callNative((addon) => addon.disposePolicy(policy));
    super.dispose();
  }

  async #job<Result>(
    job: JobOptions,
    start: (addon: Native, policy: PolicyHandle, listen: NativeListener) => NativeJob<Result>,
  ): Promise<Result> {
    const policy = this.#policy;
    if (!policy) throw disposed();
    return await runJob(job, (addon, listen) => start(addon, policy, listen));
  }
}
