// Loads the .node file, the only place that does; on first use, so that importing the binding costs nothing.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { DrmError, fromNative, isErrorCode, type NativeFailure } from './error.js';
import type {
  EncoderHandle,
  GroupHandle,
  PipelineHandle,
  PolicyHandle,
  RewardModelHandle,
  ScorerHandle,
  TestHandle,
  TrainerHandle,
} from './handles.js';
import type {
  Bitmap,
  BuildInfo,
  Cmmd,
  ComponentFiles,
  ComponentInside,
  DescribeRequest,
  Dtype,
  Features,
  GroupPlace,
  LetterboxRequest,
  LoadOptions,
  LoraConversion,
  LoraInfo,
  LoraInspection,
  LoraMerge,
  Metrics,
  ModelDescription,
  NativeEvent,
  ObjectiveSpec,
  ParallelInfo,
  PipelineInfo,
  PipelineSource,
  PolicySampleRequest,
  PolicySpec,
  PreviewRequest,
  Progress,
  PromptTokens,
  ResizeRequest,
  RewardInfo,
  RewardSource,
  RolloutFigures,
  RolloutRequest,
  RuntimeInfo,
  SampleRequest,
  SampleSummary,
  ScoreRequest,
  ScorerInfo,
  ScorerSource,
  Scores,
  StepAdvantages,
  StepAdvantagesRequest,
  StepRequest,
  TrainBatch,
  TrainerOptions,
  WeightedMetrics,
} from './types.js';

export interface NativeListener {
  (kind: 'progress', value: Progress): void;
  (kind: 'event', value: NativeEvent): void;
}

export interface NativeJob<Result> {
  /** Rejects only with what the listener threw. */
  promise: Promise<{ value: Result } | { failure: NativeFailure }>;
  cancel(): void;
}

/** See binding/src/test_job.cc. */
export interface TestJobOptions {
  steps: number;
  millis?: number;
  reports?: number;
  events?: number;
  bytes?: number;
  fail?: string;
  handle?: TestHandle;
}

/** What the addon exports: each function is defined by DRM_EXPORT (binding/src/exported.h) under its name here. */
export interface Native {
  buildInfo(): BuildInfo;
  runtimeInfo(): RuntimeInfo;
  setThreads(count: number): void;
  prepareExit(exitCode: number): void;
  loadPipeline(source: PipelineSource, options: LoadOptions, listen: NativeListener): NativeJob<PipelineHandle>;
  pipelineInfo(pipeline: PipelineHandle): PipelineInfo;
  sample(pipeline: PipelineHandle, request: SampleRequest, listen: NativeListener): NativeJob<SampleSummary>;
  disposePipeline(pipeline: PipelineHandle): void;
  parallelInfo(): ParallelInfo;
  joinGroup(place: GroupPlace, listen: NativeListener): NativeJob<GroupHandle>;
  groupExchange(group: GroupHandle, request: { text: string }, listen: NativeListener): NativeJob<string[]>;
  groupWatch(group: GroupHandle, listen: NativeListener): NativeJob<void>;
  leaveGroup(group: GroupHandle, request: { code: string; message: string }, listen: NativeListener): NativeJob<void>;
  createTrainer(
    objective: ObjectiveSpec,
    options: TrainerOptions,
    listen: NativeListener,
    group?: GroupHandle,
  ): NativeJob<TrainerHandle>;
  createPolicyTrainer(
    policy: PolicySpec,
    options: TrainerOptions,
    listen: NativeListener,
    group?: GroupHandle,
  ): NativeJob<{ trainer: TrainerHandle; policy: PolicyHandle }>;
  trainerParameters(trainer: TrainerHandle): number;
  trainerStep(trainer: TrainerHandle, request: StepRequest, listen: NativeListener): NativeJob<Metrics>;
  trainerEvaluate(trainer: TrainerHandle, batch: TrainBatch, listen: NativeListener): NativeJob<WeightedMetrics>;
  trainerCacheLatents(trainer: TrainerHandle, batch: TrainBatch, listen: NativeListener): NativeJob<void>;
  trainerCachePrompts(
    trainer: TrainerHandle,
    request: { prompts: PromptTokens[] },
    listen: NativeListener,
  ): NativeJob<void>;
  trainerLoadLatents(
    trainer: TrainerHandle,
    request: { path: string; images: number[] },
    listen: NativeListener,
  ): NativeJob<void>;
  trainerLoadPrompts(trainer: TrainerHandle, request: { paths: string[] }, listen: NativeListener): NativeJob<void>;
  trainerPreview(trainer: TrainerHandle, request: PreviewRequest, listen: NativeListener): NativeJob<void>;
  policyRollout(policy: PolicyHandle, request: RolloutRequest, listen: NativeListener): NativeJob<RolloutFigures>;
  policyRatioError(policy: PolicyHandle, request: { batches: TrainBatch[] }, listen: NativeListener): NativeJob<number>;
  policySample(policy: PolicyHandle, request: PolicySampleRequest, listen: NativeListener): NativeJob<Float32Array[]>;
  disposePolicy(policy: PolicyHandle): void;
  describeModel(request: DescribeRequest): ModelDescription;
  stepAdvantages(request: StepAdvantagesRequest): StepAdvantages;
  trainerSave(trainer: TrainerHandle, request: { path: string }, listen: NativeListener): NativeJob<void>;
  trainerRestore(trainer: TrainerHandle, request: { path: string }, listen: NativeListener): NativeJob<void>;
  trainerExport(
    trainer: TrainerHandle,
    request: { path: string; dtype: Dtype; layout?: 'drm' | 'authors' },
    listen: NativeListener,
  ): NativeJob<void>;
  disposeTrainer(trainer: TrainerHandle): void;
  inspectLora(
    request: { file: string; transformer?: ComponentFiles },
    listen: NativeListener,
  ): NativeJob<LoraInspection>;
  convertLora(request: LoraConversion, listen: NativeListener): NativeJob<void>;
  mergeLoras(request: LoraMerge, listen: NativeListener): NativeJob<LoraInfo[]>;
  tensorNames(request: { files: string[] }, listen: NativeListener): NativeJob<string[]>;
  componentsInside(request: { file: string }, listen: NativeListener): NativeJob<ComponentInside[]>;
  loadEncoder(
    request: { source: PipelineSource; t5Length: number },
    options: LoadOptions,
    listen: NativeListener,
  ): NativeJob<EncoderHandle>;
  encodeLatents(
    encoder: EncoderHandle,
    request: { batch: TrainBatch; path: string },
    listen: NativeListener,
  ): NativeJob<void>;
  encodePrompts(
    encoder: EncoderHandle,
    request: { prompts: PromptTokens[]; path: string },
    listen: NativeListener,
  ): NativeJob<void>;
  disposeEncoder(encoder: EncoderHandle): void;
  loadRewardModel(source: RewardSource, options: LoadOptions, listen: NativeListener): NativeJob<RewardModelHandle>;
  rewardModelInfo(model: RewardModelHandle): RewardInfo;
  rewardModelScore(model: RewardModelHandle, request: ScoreRequest, listen: NativeListener): NativeJob<Float32Array>;
  disposeRewardModel(model: RewardModelHandle): void;
  loadScorer(source: ScorerSource, options: LoadOptions, listen: NativeListener): NativeJob<ScorerHandle>;
  scorerInfo(scorer: ScorerHandle): ScorerInfo;
  scorerImageFeatures(scorer: ScorerHandle, request: { images: Bitmap[] }, listen: NativeListener): NativeJob<Features>;
  scorerTextFeatures(
    scorer: ScorerHandle,
    request: { captions: { ids: BigInt64Array }[] },
    listen: NativeListener,
  ): NativeJob<Features>;
  scorerScore(
    scorer: ScorerHandle,
    request: { images: Bitmap[]; captions: { ids: BigInt64Array }[]; promptOf: number[] },
    listen: NativeListener,
  ): NativeJob<Scores>;
  scorerDistances(
    scorer: ScorerHandle,
    request: { images: Bitmap[]; first: number[]; second: number[] },
    listen: NativeListener,
  ): NativeJob<Float32Array>;
  disposeScorer(scorer: ScorerHandle): void;
  cmmd(request: { a: Features; b: Features }, listen: NativeListener): NativeJob<Cmmd>;
  resizeImages(request: ResizeRequest, listen: NativeListener): NativeJob<Bitmap[]>;
  letterboxImages(request: LetterboxRequest, listen: NativeListener): NativeJob<Features>;
  testJob(options: TestJobOptions, listen: NativeListener): NativeJob<number>;
  testHandle(): TestHandle;
  disposeTestHandle(handle: TestHandle): void;
  testObjectsAlive(): number;
}

/** The folder of package.json: this file runs from binding/ in tests and from dist/binding/ otherwise. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

/** What scripts/setup has noted about libtorch; a line of its fingerprint is a library, its size, its time. */
function recordedLibtorch(root: string): { path?: string; fingerprint?: string } {
  try {
    return JSON.parse(readFileSync(join(root, 'build', 'libtorch.json'), 'utf8'));
  } catch {
    return {};
  }
}

/**
 * Throws OUT_OF_MEMORY where a limit on address space (ulimit -v) leaves no room for libtorch: its static objects are made
 * while it is loaded, and where they find no memory the process is aborted.
 */
function roomFor(fingerprint = ''): void {
  let room: number;
  try {
    const limit = /^Max address space +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    const taken = /^VmSize:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    room = limit === undefined ? Number.POSITIVE_INFINITY : Number(limit) - 1024 * Number(taken);
  } catch {
    return; // not Linux
  }
  const libraries = fingerprint
    .split('\n')
    .reduce((sum, line) => sum + Number(/ (\d+) [\d.]+$/.exec(line)?.[1] ?? 0), 0);
  const needed = 1.25 * libraries; // with what they allocate
  if (room < needed)
    throw noMemory(`room for ${Math.round(needed / 1e6)} MB of libtorch`, `${Math.max(0, Math.round(room / 1e6))} MB`);
}

const noMemory = (expected: string, found: string) =>
  new DrmError(
    'OUT_OF_MEMORY',
    `[binding] expected ${expected}, found ${found}; end other programs, or raise the limit on memory (ulimit -v)`,
  );

/** Turns the loader's words into a cause and a remedy. */
function loadFailure(file: string, root: string, cause: unknown): DrmError {
  const said = cause instanceof Error ? cause.message : String(cause);
  const libtorch = recordedLibtorch(root).path;
  if (/failed to map segment|cannot allocate memory/i.test(said)) return noMemory('memory to load libtorch', said);
  const fail = (why: string, remedy: string) =>
    new DrmError('ENVIRONMENT', `[binding] ${file}: ${why}; ${remedy}`, { file, libtorch: libtorch ?? '' }, { cause });
  if (/Too many open files/i.test(said)) return fail(said, 'raise the limit on open files (ulimit -n 4096)');
  if (!existsSync(file)) return fail('the native addon is not built', 'run `npm run setup`');
  if (/NODE_MODULE_VERSION|different Node\.js version/.test(said)) {
    return fail(`built for another Node than this one (${process.version})`, 'run `npm run setup` with this Node');
  }
  const library = /(lib[\w.+-]+\.(?:so|dylib)[\w.]*)/.exec(said)?.[1];
  if (library && /cannot open shared object|image not found|Library not loaded/.test(said)) {
    const where = libtorch ? `libtorch was at ${libtorch} when it was built` : 'where libtorch was is not recorded';
    return fail(
      `needs ${library}, which is missing (${where})`,
      'put it back, or set LIBTORCH to its new folder, then run `npm run setup`',
    );
  }
  return fail(`does not load: ${said}`, 'run `npm run setup`; if that says all is up to date, delete build/ first');
}

/**
 * libgomp's threads spin at every barrier before they sleep, by default for milliseconds: on a machine that does other
 * things, too, they keep each other from the cores. Far fewer turns cost nothing where the cores are free
 * (docs/benchmarks.md). Read when the library loads; who has set either variable is left alone.
 */
function spinLess(): void {
  if (process.env.OMP_WAIT_POLICY === undefined) process.env.GOMP_SPINCOUNT ??= '50000';
}

/** The addon, which refuses to be asked for what it lacks: it was built from other sources than this interface. */
function complete(addon: Native, file: string): Native {
  return new Proxy(addon, {
    get(target, name) {
      const found: unknown = Reflect.get(target, name);
      if (found !== undefined || typeof name === 'symbol') return found;
      throw new DrmError(
        'ENVIRONMENT',
        `[binding] ${file}: built from other sources, it lacks ${name}; run \`npm run setup\``,
        { file },
      );
    },
  });
}

function load(): Native {
  spinLess();
  const root = packageRoot();
  // DRM_ADDON is for trying another build (a sanitizer's, say) without replacing this one.
  const file = process.env.DRM_ADDON ?? join(root, 'binding', 'build', 'Release', 'drm.node');
  roomFor(recordedLibtorch(root).fingerprint);
  let addon: Native;
  try {
    addon = createRequire(import.meta.url)(file);
  } catch (cause) {
    throw loadFailure(file, root, cause);
  }
  // Node does not tear its main thread down when a process exits; see binding/src/live_jobs.h. A worker thread's jobs end
  // by their cleanup hooks.
  if (isMainThread) process.on('exit', (code) => addon.prepareExit(code));
  return complete(addon, file);
}

let loaded: Native | undefined;

export function native(): Native {
  loaded ??= load();
  return loaded;
}

/** Runs a synchronous native call; its failure becomes a DrmError. */
export function callNative<Result>(call: (addon: Native) => Result): Result {
  const addon = native();
  try {
    return call(addon);
  } catch (error) {
    const { code, message, details } = error as NativeFailure;
    throw error instanceof Error && isErrorCode(code) ? fromNative({ code, message, details }, error) : error;
  }
}
