// What crosses the native boundary for training: specs, batches, rollouts, advantages. Mirrors csrc/train/spec.h.
import type { RewardModelHandle } from './handles.js';
import type { Bitmap, ComponentFiles, Dtype, PipelineSource, PromptTokens } from './model_types.js';

/**
 * Settings as a config has them (configs/schema): the core takes those that it has a use for, by the same names, from the lists
 * in csrc/train/spec.h. One that is missing is a bug of the caller's, INTERNAL.
 */
export type Settings = Readonly<object>;

/** What is trained on given data; see csrc/train/*_objective.h. */
export type ObjectiveSpec =
  | { kind: 'vae'; config: string; weights: string[]; settings: Settings } // vae/config.json; no weights: from scratch
  | { kind: 'clip' | 'scorer'; config: string; weights: string[]; settings: Settings } // config.json of a transformers CLIPModel
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
  images?: number[];
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
  images: boolean; // "image" events of the final latents
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
  images: Bitmap[]; // empty where none were asked for
}

/** Images of the policy's averaged adapter by plain sampling. */
export interface PolicySampleRequest extends PolicyInputs {
  seeds: number[]; // initial latents, as in `drm sample`
  steps: number;
  guidance: number;
}

export interface PolicySample {
  images: Bitmap[];
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
