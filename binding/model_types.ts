// What crosses the native boundary. Mirrors csrc/api/ and csrc/common/control.h.
import type { RewardModelHandle, ScorerHandle } from './handles.js';

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

/** A scorer of finished images that chooses among candidates; see ImageGuide in csrc/api/pipeline.h. */
export interface ImageGuide {
  scorer: ScorerHandle;
  rows: { ids: BigInt64Array }[]; // none where it reads no text
  rowOf: number[]; // of each of the request's images; likewise
  factor: number; // above 0: its number times this is the score
}

/** Step-wise sampling; see StepwiseRequest in csrc/api/pipeline.h. */
export interface StepwiseRequest {
  reward?: RewardModelHandle; // on the pipeline's device; of k > 1
  guide?: ImageGuide; // in its place
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
  images: { prompt: number; negative: number; seed: bigint }[];
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
  images: number;
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
  /** A JSON object of the kind's own settings. */
  settings?: string;
}

export interface Scores {
  values: Float32Array;
  /** Of a kind that says how sure it is, such as HPSv3's sigma. */
  deviations?: Float32Array;
}

export interface ScorerInfo {
  device: string;
  dtype: string;
  parameters: number;
  weightBytes: number;
  imageSize: number;
  tokens: number; // of a caption at most; 0: it reads none
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
  images: Bitmap[];
  width: number;
  height: number;
  /** The centre square instead of the whole image; whose rule for odd margins. */
  square?: 'transformers' | 'torchvision';
}

/** HPSv2's view of images: see csrc/scorers/letterbox.h. */
export interface LetterboxRequest {
  images: Bitmap[];
  size: number;
  antialias: boolean;
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
  images: Bitmap[]; // of any size
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
  cpuBf16: boolean; // it multiplies bf16 at once
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
