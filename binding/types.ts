// What crosses the native boundary. Mirrors csrc/api/pipeline.h and csrc/common/control.h.
import type { RewardModelHandle } from './native.js';

/** Of weights and matrix products. */
export type Dtype = 'fp32' | 'fp16' | 'bf16';

/** Files of one component; see ComponentFiles in csrc/api/pipeline.h. */
export interface ComponentFiles {
  config?: string;
  weights: string[];
}

export interface PipelineSource {
  transformer: ComponentFiles;
  vae: ComponentFiles;
  textEncoder?: ComponentFiles;
  textEncoder2?: ComponentFiles;
  textEncoder3?: ComponentFiles;
  schedulerConfig?: string;
}

export interface LoadOptions {
  device: string; // "cpu", "cuda", "cuda:N"
  dtype: Dtype;
  loras?: LoraUse[]; // of a Pipeline's transformer; other models have none
}

/** An adapter file and how strongly it counts: its own alpha / rank times this. */
export interface LoraUse {
  file: string;
  strength: number;
}

/** An adapter that was applied; all its tensors matched. */
export interface LoraInfo {
  file: string;
  spelling: string;
  strength: number;
  tensors: number;
  layers: number;
  alphaStated: boolean; // false: the file does not say, and alpha = rank is assumed as diffusers does
}

/** A part of a single file of SD3's original form, as its keys call it. */
export type ComponentInside = 'vae' | 'clip_l' | 'clip_g' | 't5xxl';

/** See LoraInspection in csrc/api/lora_tools.h. */
export interface LoraInspection {
  file: string;
  spelling: string; // "diffusers", "peft", "kohya", ...; "" when nothing in it adapts an SD3 transformer
  tensors: number;
  alphaStated: boolean;
  unmatchedKeys: string[]; // the file's names of what it adapts besides the transformer
  layers: LoraLayer[];
  match?: { tensors: number; matched: number; unmatched: string[] }; // with the given transformer
}

export interface LoraLayer {
  name: string;
  dtype: string;
  rank: number;
  in: number;
  out: number;
  alpha: number;
  normA: number; // Frobenius
  normB: number;
  normDelta: number; // of alpha / rank * B A
}

export interface LoraConversion {
  file: string;
  to: 'diffusers' | 'peft' | 'kohya';
  out: string; // .safetensors; PEFT's adapter_config.json goes beside
}

export interface LoraMerge {
  transformer: ComponentFiles;
  loras: LoraUse[];
  out: string; // .safetensors
  dtype?: Dtype; // default: that of each weight in its file
}

export interface PipelineInfo {
  device: string;
  dtype: string;
  transformerParameters: number;
  vaeParameters: number;
  textEncoderParameters: number;
  weightBytes: number;
  layers: number;
  width: number;
  latentChannels: number;
  vaeFactor: number;
  patch: number;
  defaultSize: number;
  hasT5: boolean;
  attention: string;
  loras: LoraInfo[];
}

/** Token ids of one prompt; typed arrays cross the boundary as they are. */
export interface PromptTokens {
  clipL: BigInt64Array;
  clipG: BigInt64Array;
  t5: BigInt64Array; // empty when the pipeline has no T5
}

/** Step-wise sampling; see StepwiseRequest in csrc/api/pipeline.h. */
export interface StepwiseRequest {
  reward: RewardModelHandle; // on the pipeline's device
  /** The request's prompts with the reward model's number of T5 tokens, where that is another. */
  prompts?: PromptTokens[];
  k: number;
  noiseLevel: number;
  temperature: number; // of the choice; 0: the best
  scoreFrom: number; // fractions of the trajectory
  scoreUntil: number;
  trace: boolean; // "candidate" events
}

export interface SampleRequest {
  prompts: PromptTokens[];
  negatives: PromptTokens[];
  pictures: { prompt: number; negative: number; seed: bigint }[];
  steps: number;
  guidance: number;
  height: number; // 0 = the model's default size
  width: number;
  t5Length: number;
  batch: number; // 0 = chosen from the size
  skipLayers?: { layers: number[]; scale: number; start: number; stop: number };
  stepwise?: StepwiseRequest;
  initLatents?: { file: string; tensor: string };
  saveLatents?: string;
  freeEncoders: boolean;
  decode: boolean;
  previewEvery: number;
  tile: number;
}

export interface SampleSummary {
  pictures: number;
  width: number;
  height: number;
  batches: number;
  encodeSeconds: number;
  denoiseSeconds: number;
  decodeSeconds: number;
  secondsPerStep: number;
  policySeconds: number; // of denoising, on a CPU; what follows likewise
  rewardSeconds: number;
  branchSeconds: number;
}

/** RGB, row by row. */
export interface Bitmap {
  pixels: Uint8Array;
  width: number;
  height: number;
}

/** See csrc/scorers/scorer.h. */
export interface ScorerSource {
  kind: string; // its name in csrc/scorers/registry.cc
  config: string;
  weights: string[];
  preprocessorConfig?: string;
}

export interface ScorerInfo {
  device: string;
  dtype: string;
  parameters: number;
  weightBytes: number;
  imageSize: number;
  tokens: number; // of a caption
  width: number; // of the features
  logitScale: number; // the score of a pair is e^logitScale times its cosine
}

/** Unit vectors, row by row. */
export interface Features {
  values: Float32Array;
  rows: number;
  width: number;
}

/** Distance of two sets of images; see csrc/scorers/cmmd.h. */
export interface Cmmd {
  biased: number; // the authors' own
  unbiased: number; // to compare small sets with
}

export interface ResizeRequest {
  pictures: Bitmap[];
  width: number;
  height: number;
  /** The centre square instead of the whole image; whose rule for odd margins. */
  square?: 'transformers' | 'torchvision';
}

/** What is to be described: a base, or a reward model's backbone; and for the cost of a pass its size and text. */
export interface DescribeRequest {
  source?: PipelineSource;
  checkpoint?: { config?: string | undefined; weights: string[] };
  size?: number; // pixels a side; 0: the model's default
  textTokens?: number;
}

/** What a pass over one row takes, counted from shapes; see PassCost in csrc/models/velocity_model.h. */
export interface PassCost {
  operations: number;
  weights: number; // numbers, of the blocks
  working: number; // numbers that are alive at once
  kept: number; // that the backward pass needs
  checkpointed: number; // the same with gradient checkpointing
}

/** What a model says of itself before it is loaded; see csrc/api/describe_model.h. */
export interface ModelDescription {
  className: string;
  inChannels: number;
  patchSize: number;
  layers: number;
  runLayers: number; // of them
  width: number;
  sequenceWidth: number; // of a prompt's states
  pooledWidth: number; // 0: it reads no pooled prompt
  vaeFactor: number; // 0 without a VAE, as the sizes below
  vaeChannels: number;
  sizeUnit: number; // pixels a side: what sizes must be multiples of
  defaultSize: number;
  largestSize: number;
  /** What another model must equal it in to read its latents and prompts, by its config's names. */
  shape: Record<string, number>;
  linearLayers: string[];
  parameters: number;
  passCost: PassCost;
  latentNumbers: number; // of an image
}

/**
 * Settings as a config has them (configs/schema): the core takes those that it has a use for, by the same names, from the lists
 * in csrc/train/spec.h. One that is missing is a bug of the caller's, INTERNAL.
 */
export type Settings = Readonly<object>;

/** What is trained on given data; see csrc/train/*_objective.h. */
export type ObjectiveSpec =
  | { kind: 'vae'; config: string; weights: string[]; settings: Settings } // vae/config.json; no weights: from scratch
  | { kind: 'clip'; config: string; weights: string[]; settings: Settings } // config.json of a transformers CLIPModel
  | FlowObjective
  | RewardObjective;

export interface FlowObjective {
  kind: 'flow';
  /** transformer.weights may be empty: from scratch, by its config. */
  source: PipelineSource;
  settings: Settings;
}

export interface RewardObjective {
  kind: 'reward';
  /** The base. transformer.weights may be empty: random weights, by its config. */
  source: PipelineSource;
  /** A reward model to go on from; its config then decides sizes. */
  checkpoint?: ComponentFiles;
  settings: Settings;
}

/** An adapter of a text-to-image model by policy gradients; see csrc/train/policy_objective.h. */
export interface PolicySpec {
  source: PipelineSource; // its weights are in the trainer's dtype, adapters in fp32
  settings: Settings;
}

export interface TrainerOptions {
  device: string;
  dtype: Dtype; // of matrix products; weights stay fp32
  seed: bigint;
  settings: Settings; // of the optimizer
}

/** A process's place among those that train one model; see GroupPlace in csrc/parallel/process_group.h. */
export interface GroupPlace {
  rank: number;
  size: number;
  address: string;
  port: number;
  storeIsThere: boolean;
  attempt: string;
  patience: number; // seconds until all must have come
}

/** Names of what connects processes; empty where this build has none. */
export interface ParallelInfo {
  cpu: string;
  gpu: string;
}

/** A micro-batch. Which fields are needed depends on the objective. */
export interface TrainBatch {
  samples: number[]; // indices in the data set: they key the samples' random numbers
  /** Which images the batch has when a sample is not one image; a pair's: the chosen of all, then the rejected. */
  pictures?: number[];
  pixels?: Uint8Array; // images x height x width x 3
  height?: number;
  width?: number;
  ids?: BigInt64Array; // samples x length
  texts?: number[]; // rows of the cached prompts
  prompts?: PromptTokens[]; // prompts to encode now instead; reward models only
  /** Policies: `samples` are rows of the collected rollout, `step` the denoising step, and candidates have advantages. */
  step?: number;
  advantages?: Float32Array; // samples x candidates
}

/** What a policy samples by. */
export interface PolicyInputs {
  prompts: PromptTokens[];
  /** The same with as many T5 tokens as the reward models read, where that is another number. */
  rewardPrompts?: PromptTokens[];
  negative: PromptTokens;
  promptOf: number[]; // of each trajectory or image, an index into prompts
  rewards: { reward: RewardModelHandle; weight: number }[];
}

/** Trajectories of the policy as it is now, kept until the next iteration begins. */
export interface RolloutRequest extends PolicyInputs {
  iteration: number; // another one than before forgets what was collected
  samples: number[]; // of each trajectory, what keys its noise
  latents: number[]; // of each, what keys its initial latents: equal numbers share them
  k: number; // candidates of a state; 1: none
  continue: 'random' | 'best' | 'first' | 'ode'; // which candidate does
  from: number; // steps with noise, which can be trained: from <= step < until; Euler steps outside
  until: number;
  /** With k = 1: rewards of the final latents alone, or of all states. Candidates are always scored. */
  score: 'final' | 'states';
  pictures: boolean; // "image" events of the final latents
}

export interface RolloutFigures {
  firstRow: number; // rows of these trajectories are firstRow, firstRow + 1, ...
  /**
   * For each reward: k > 1: (until - from) x trajectories x k, of the candidates; k = 1: trajectories, of the final latents,
   * or with score 'states' (until - from + 1) x trajectories, of the states at steps from to until.
   */
  scores: Float32Array[];
  encodeSeconds: number;
  policySeconds: number; // branching included
  rewardSeconds: number;
  decodeSeconds: number;
}

export interface Rollout extends RolloutFigures {
  pictures: Bitmap[]; // empty where none were asked for
}

/** Images of the policy's averaged adapter by plain sampling. */
export interface PolicySampleRequest extends PolicyInputs {
  seeds: number[]; // initial latents, as in `drm sample`
  steps: number;
  guidance: number;
}

export interface PolicySample {
  pictures: Bitmap[];
  scores: Float32Array[]; // for each reward, of the final latents at timestep 0
}

/** See csrc/rl/step_advantages.h. */
export interface StepAdvantagesRequest {
  /** steps x states x candidates, in this order, of all processes. Those that are not finite are left out of all statistics. */
  rewards: Float32Array;
  steps: number;
  candidates: number;
  /** Of each state of a step, any number: candidates of states with equal numbers are one group. */
  groups: readonly number[];
  /** Divide by the deviation of all rewards of the step instead of the group's. */
  globalDeviation: boolean;
  /** Added to the deviation. */
  epsilon: number;
}

/** Of the rewards of one step. */
export interface StepStatistics {
  groups: number;
  zeroVariance: number; // groups whose rewards are all equal
  notFinite: number; // rewards
  mean: number;
  deviation: number;
  groupDeviation: number; // mean over the groups
}

export interface StepAdvantages {
  /** Like the rewards; 0 where the reward is not finite. */
  advantages: Float32Array;
  /** A step each. */
  statistics: StepStatistics[];
}

export interface StepRequest {
  index: number;
  learningRate: number;
  batches: TrainBatch[];
}

export type Metrics = Record<string, number>;

/** Means and of how many samples they are; names of which no sample of the batch had something to say are absent. */
export type WeightedMetrics = Record<string, { mean: number; weight: number }>;

/** See csrc/api/reward_model.h. */
export interface RewardSource {
  /** A folder's config.json and model.safetensors, or the authors' single file without a config. */
  checkpoint: ComponentFiles;
  /** The base, whose VAE and text encoders are needed to score images, but not by step-wise sampling. */
  base?: PipelineSource;
}

export interface RewardInfo {
  device: string;
  dtype: string;
  parameters: number;
  weightBytes: number;
  layers: number; // blocks of the base
  keepLayers: number; // blocks that are run
  latentChannels: number;
  t5Length: number; // tokens of T5 it was trained with
  size: number; // pixels a side it was trained at
  schedule: Float32Array; // timesteps of the base scheduler's training table, noisiest first
}

export interface ScoreRequest {
  pictures: Bitmap[]; // of any size
  prompts: PromptTokens[];
  promptOf: number[]; // index into prompts, for each image
  samples: number[]; // what keys each image's noise
  timesteps: number[]; // each 0..1000: one row of scores each
  draws: number; // of noise, averaged; one is enough at timestep 0
  seed: bigint;
  posteriorSample: boolean;
  addNoise?: boolean; // default: true; false: the latent stays clean, whatever timestep the network is told
  size?: number; // pixels a side; default: info.size
}

export interface PreviewRequest {
  texts: number[];
  seeds: number[];
  steps: number;
  guidance: number;
  height: number; // 0 = the model's default size
  width: number;
}

/** Latest of each phase wins: some are skipped when the listener is slow. */
export interface Progress {
  phase: string;
  step: number;
  total: number;
  seconds: number;
}

/** Never dropped, in order. `kind` and its fields are listed in csrc/api/pipeline.h. */
export interface NativeEvent {
  kind: string;
  bytes?: Uint8Array;
  [field: string]: unknown;
}

export interface JobOptions {
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  onEvent?: (event: NativeEvent) => void;
}

export interface Gpu {
  name: string;
  capability: string; // compute capability, "9.0"
  totalBytes: number;
  freeBytes: number; // 0 when the driver does not tell
}

/** What this build runs on; see RuntimeInfo in csrc/api/pipeline.h. What cannot be told is empty. */
export interface RuntimeInfo {
  libtorch: string;
  cpuCapability: string;
  blas: string;
  attention: string;
  threads: number;
  cudaBuilt: boolean;
  cudaKernels: boolean;
  cudaError: string;
  cudaNote: string;
  gpus: Gpu[];
}

/** What the addon was built from; scripts/setup.mjs compares it with the sources. */
export interface BuildInfo {
  libtorch: string; // "2.13.0+cpu"
  libtorchPath: string;
  sourceHash: string;
  compiler: string;
  cuda: boolean;
}
