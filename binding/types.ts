// What crosses the native boundary. Mirrors csrc/pipeline/pipeline.h and csrc/common/control.h.

/** Files of one component; see ComponentFiles in csrc/pipeline/pipeline.h. */
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
  dtype: 'fp32' | 'bf16';
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
}

/** Token ids of one prompt; typed arrays cross the boundary as they are. */
export interface PromptTokens {
  clipL: BigInt64Array;
  clipG: BigInt64Array;
  t5: BigInt64Array; // empty when the pipeline has no T5
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
}

/** Latest wins: some are skipped when the listener is slow. */
export interface Progress {
  phase: string;
  step: number;
  total: number;
  seconds: number;
}

/** Never dropped, in order. `kind` and its fields are listed in csrc/pipeline/pipeline.h. */
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

/** What this build runs on; see RuntimeInfo in csrc/pipeline/pipeline.h. What cannot be told is empty. */
export interface RuntimeInfo {
  libtorch: string;
  cpuCapability: string;
  blas: string;
  attention: string;
  threads: number;
  cudaBuilt: boolean;
  cudaKernels: boolean;
  cudaError: string;
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
