// What an iteration will cost, before it is begun: passes by counting, seconds and memory by the shapes of the networks.
// A matrix product counts two operations a weight and token, attention four a pair of tokens and channel; what a machine
// does of them in a second is assumed, and said. --dry-run measures instead.
import { statSync } from 'node:fs';
import type { ComponentFiles, Dtype, ModelDescription, PassCost, RuntimeInfo } from '../../binding/types.js';
import { bytesOf } from '../common/device.js';
import type { GrpoSettings } from '../config/types.js';
import { shardsOf } from '../hub/weight_index.js';
import { algorithmOf } from './algorithms/registry.js';
import type { Geometry } from './geometry.js';

/** What a network takes of a machine, as it says of itself. */
export interface Network extends PassCost {
  /** That are run. */
  layers: number;
}

export interface Machine {
  /** As it is told to the user. */
  name: string;
  /** Operations a second that matrix products reach. */
  rate: number;
  /** Seconds that a block takes however little there is to do. */
  overhead: number;
  /** Bytes that are taken before anything is loaded: the program and its libraries, or the GPU's context. */
  bytes: number;
}

export const networkOf = ({ runLayers, passCost }: ModelDescription): Network => ({ layers: runLayers, ...passCost });

/** Known GPUs by compute capability: operations a second in 16 bits that are reached, not those of data sheets. */
const GPUS: Record<string, number> = { '9.0': 4e14, '8.0': 1.5e14, '8.6': 6e13, '8.9': 1e14 };
/** Each thread of a CPU. */
const THREAD: Record<Dtype, number> = { fp32: 4e10, fp16: 2e9, bf16: 6e10 };

export function machineOf(device: string, dtype: Dtype, info: RuntimeInfo): Machine {
  if (!device.startsWith('cuda')) {
    const rate = THREAD[dtype] * info.threads;
    const threads = `${info.threads} CPU thread${info.threads === 1 ? '' : 's'}`;
    return { name: `${threads}, ${dtype}`, rate, overhead: 3e-4, bytes: process.memoryUsage.rss() };
  }
  const gpu = info.gpus[Number(device.split(':')[1] ?? 0)];
  const rate = (GPUS[gpu?.capability ?? ''] ?? 5e13) / (dtype === 'fp32' ? 4 : 1);
  return { name: `${gpu?.name ?? device}, ${dtype}`, rate, overhead: 2e-4, bytes: 6e8 };
}

/** Bytes of weight files; an index counts as the shards it names. */
export function fileBytes(parts: readonly (ComponentFiles | undefined)[]): number {
  const files = parts.flatMap((part) => part?.weights ?? []);
  return files.reduce((sum, file) => {
    const shards = file.endsWith('.json') ? shardsOf(file) : [file];
    return sum + shards.reduce((all, shard) => all + statSync(shard).size, 0);
  }, 0);
}

export interface Phase {
  name: 'rollout' | 'reward' | 'update' | 'evaluation';
  /** Network calls of one process, and rows in all of them. */
  passes: number;
  rows: number;
  seconds: number;
  /** At its peak, weights included. */
  bytes: number;
}

export interface Plan {
  machine: Machine;
  phases: Phase[];
  /** Of an iteration, the evaluations' share included. */
  secondsPerIteration: number;
  /** Of the whole run. */
  seconds: number;
  /** At the peak. */
  bytes: number;
  weightBytes: number;
}

export interface Estimated {
  settings: GrpoSettings;
  geometry: Geometry;
  policy: Network;
  /** Reward models that score latents; scorers of images are not counted. */
  rewards: Network[];
  /** Of latents. */
  latentNumbers: number;
  /** Pixels a side. */
  size: number;
  /** Bytes of VAE and text encoders. */
  otherBytes: number;
  /** Numbers that the adapter has. */
  adapter: number;
  dtype: Dtype;
  machine: Machine;
  /** Held-out images of an evaluation; 0 where there is none. */
  heldOut: number;
}

/** Numbers of an adapter on layers of attention; all are width × width. */
export function adapterNumbers(
  { lora_targets, lora_rank }: Pick<GrpoSettings, 'lora_targets' | 'lora_rank'>,
  { linearLayers, width }: Pick<ModelDescription, 'linearLayers' | 'width'>,
): number {
  const adapted = linearLayers.filter((layer) =>
    lora_targets.some((target) => layer === target || layer.endsWith(`.${target}`)),
  );
  return adapted.length * 2 * lora_rank * width;
}

/** Channels of a VAE's last level at full size, of which a few are alive at once. */
const DECODER_NUMBERS = 128 * 4;

export function estimate(e: Estimated): Plan {
  const { settings: s, geometry: g, policy, rewards, machine, dtype } = e;
  const bytesEach = bytesOf(dtype);
  const guided = s.guidance > 1 ? 2 : 1;
  const rows = g.rows * g.updates; // of this process
  const calls = g.updates * Math.ceil(g.rows / g.batch);
  const seconds = (network: Network, passes: number, all: number) =>
    (all * network.operations) / machine.rate + passes * network.layers * machine.overhead;

  const weightBytes =
    (policy.weights + rewards.reduce((sum, network) => sum + network.weights, 0)) * bytesEach +
    e.otherBytes +
    e.adapter * (4 + 4 + 8 + (s.ema_decay > 0 ? 4 : 0)); // itself, gradient, AdamW's two, average
  // States, candidates and log-probabilities of every trained step wait for the updates, in fp32.
  const collected = rows * g.trained * (1 + g.k) * e.latentNumbers * 4;
  const base = machine.bytes + weightBytes + collected;

  const rollout = { passes: calls * g.steps, rows: rows * g.steps * guided };
  const scoring = algorithmOf(s).scoringCost(s, g);
  const reward = {
    passes: rewards.length * calls * scoring.calls,
    rows: rewards.length * rows * scoring.latents,
  };
  const inUpdate = g.updates * Math.ceil(g.rows / g.pass) * g.trained;
  // Forward, the same back (weights are frozen: no gradients of them), once more where blocks are recomputed; the
  // reference's forward.
  const through = 2 + (s.gradient_checkpointing ? 1 : 0) + (s.kl_beta > 0 ? 1 : 0);
  const update = { passes: inUpdate, rows: rows * g.trained * guided };
  const evaluationGuided = (s.evaluate_guidance || s.guidance) > 1 ? 2 : 1;
  const evaluation = {
    passes: Math.ceil(e.heldOut / g.batch) * s.evaluate_steps,
    rows: e.heldOut * s.evaluate_steps * evaluationGuided,
  };
  const decoding = e.size * e.size * DECODER_NUMBERS * 4;

  const phases: Phase[] = [
    {
      name: 'rollout',
      ...rollout,
      seconds: seconds(policy, rollout.passes, rollout.rows),
      bytes: base + g.batch * guided * policy.working * bytesEach,
    },
    {
      name: 'reward',
      ...reward,
      seconds: rewards.reduce(
        (sum, network) => sum + seconds(network, reward.passes / rewards.length, reward.rows / rewards.length),
        0,
      ),
      bytes: base + Math.max(0, ...rewards.map((network) => g.batch * g.k * network.working * bytesEach)),
    },
    {
      name: 'update',
      ...update,
      seconds: through * seconds(policy, update.passes, update.rows),
      bytes: base + g.pass * guided * (s.gradient_checkpointing ? policy.checkpointed : policy.kept) * bytesEach,
    },
    {
      name: 'evaluation',
      ...evaluation,
      seconds: seconds(policy, evaluation.passes, evaluation.rows),
      bytes: machine.bytes + weightBytes + Math.max(g.batch * evaluationGuided * policy.working * bytesEach, decoding),
    },
  ];
  return {
    machine,
    phases,
    ...overall(phases, s),
    bytes: Math.max(...phases.map((phase) => phase.bytes)),
    weightBytes,
  };
}

/** Seconds of an iteration and of the run, by those of its phases. Evaluations: at first, at every so many, at the end. */
export function overall(
  phases: readonly Pick<Phase, 'name' | 'seconds'>[],
  { iterations, evaluate_every }: Pick<GrpoSettings, 'iterations' | 'evaluate_every'>,
): { secondsPerIteration: number; seconds: number } {
  const sum = (wanted: boolean) =>
    phases.filter(({ name }) => (name === 'evaluation') === wanted).reduce((all, { seconds }) => all + seconds, 0);
  const evaluations = evaluate_every > 0 ? 1 + Math.ceil(iterations / evaluate_every) : 0;
  const secondsPerIteration = sum(false);
  return { secondsPerIteration, seconds: iterations * secondsPerIteration + evaluations * sum(true) };
}
