// The drm side of `npm run bench -- grpo`, in a process of its own: argv[2] is a PolicyWorkload. Prints "ready", then, for each
// line that holds a number, runs that many iterations and prints the seconds of their parts; for the line "check", runs two
// and prints what they computed.
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { PolicyTrainer, RewardModel, setThreads, stepAdvantages } from '../../binding/index.js';
import type { PromptTokens } from '../../binding/types.js';
import { resolveModel } from '../../cli/hub/resolve.js';
import { loadTokenizers } from '../../cli/text/tokenizer.js';

export interface PolicyWorkload {
  model: string; // folders
  reward: string;
  threads: number;
  seed: number;
  captions: string[]; // of an iteration
  each: number; // trajectories of a caption
  k: number; // candidates of a state: 1 is Flow-GRPO, more Step-GRPO
  batch: number; // trajectories a network call
  updates: number; // of an iteration
  steps: number; // of denoising; all but the last are trained
  guidance: number;
  noiseLevel: number;
  clipRange: number;
  advantageClip: number;
  klBeta: number;
  learningRate: number;
  lora: { rank: number; alpha: number; targets: string[] };
  optimizer: {
    beta1: number;
    beta2: number;
    eps: number;
    weightDecay: number;
    maxGradientNorm: number;
    emaDecay: number;
    emaEvery: number;
  };
  /** Where this side leaves its first adapter, for the other to begin with when both are checked. */
  adapter: string;
}

/** Seconds of an iteration's parts: by the clock, and of the process's own computing. */
export interface Parts {
  rollout: number;
  reward: number;
  update: number;
  sampling_cpu: number; // rollout and reward
  update_cpu: number;
}

/** What an iteration computed. */
export interface Computed {
  scores: number[]; // as RolloutFigures has them
  updates: { loss: number; kl: number; gradient: number }[];
}

const work = JSON.parse(String(process.argv[2])) as PolicyWorkload;
const { k, batch, each, captions } = work;

setThreads(work.threads);
const model = await resolveModel(work.model);
const checkpoint = { config: join(work.reward, 'config.json'), weights: [join(work.reward, 'model.safetensors')] };
const reward = await RewardModel.load({ checkpoint }, { device: 'cpu', dtype: 'fp32' });
const { optimizer } = work;
const trainer = await PolicyTrainer.of(
  {
    source: model.source,
    settings: {
      ...{ clip_range: work.clipRange, advantage_clip: work.advantageClip, kl_beta: work.klBeta, kl: 'flow' },
      ...{ guidance: work.guidance, noise_level: work.noiseLevel, sde: 'sde', denoising_steps: work.steps, size: 0 },
      ...{ lora_rank: work.lora.rank, lora_alpha: work.lora.alpha, lora_targets: work.lora.targets, lora_from: '' },
      ...{ t5_length: 0, detach_unconditional: false, gradient_checkpointing: false },
    },
  },
  {
    ...{ device: 'cpu', dtype: 'fp32', seed: BigInt(work.seed), zero: false },
    settings: {
      ...{ beta1: optimizer.beta1, beta2: optimizer.beta2, eps: optimizer.eps, weight_decay: optimizer.weightDecay },
      ...{ max_gradient_norm: optimizer.maxGradientNorm, ema_decay: optimizer.emaDecay, ema_every: optimizer.emaEvery },
      zero: false,
    },
  },
);
await trainer.save(work.adapter);

const tokenizers = loadTokenizers(model.tokenizers);
const tokens = async (text: string): Promise<PromptTokens> => (await tokenizers.encode(text, 0)).tokens;
const prompts = await Promise.all(captions.map(tokens));
const negative = await tokens('');
const count = captions.length * each;
const trained = work.steps - 1;
const range = (from: number, until: number) => Array.from({ length: until - from }, (_, i) => from + i);
let index = 0;

async function iterate(iteration: number): Promise<{ parts: Parts; computed: Computed }> {
  const started = performance.now();
  const before = process.cpuUsage();
  let rewardSeconds = 0;
  const calls: Float32Array[] = [];
  for (let at = 0; at < count; at += batch) {
    const rows = range(at, at + batch);
    const samples = rows.map((row) => iteration * count + row);
    const first = Math.floor(at / each);
    const walked = await trainer.rollout({
      iteration,
      prompts: prompts.slice(first, Math.floor((at + batch - 1) / each) + 1),
      negative,
      promptOf: rows.map((row) => Math.floor(row / each) - first),
      ...{ samples, latents: samples, k, continue: 'random', from: 0, until: trained, score: 'final', images: false },
      rewards: [{ reward: reward.handle(), weight: 1 }],
    });
    rewardSeconds += walked.rewardSeconds;
    calls.push(walked.scores[0] ?? new Float32Array());
  }
  // Of each step with candidates, or of the final latents alone: all calls' rows one after the other.
  const scored = k > 1 ? trained : 1;
  const scores = new Float32Array(scored * count * k);
  for (const [call, values] of calls.entries())
    for (let j = 0; j < scored; j++)
      scores.set(values.subarray(j * batch * k, (j + 1) * batch * k), (j * count + call * batch) * k);
  const { advantages } = stepAdvantages({
    rewards: scores,
    ...{ steps: scored, candidates: k, epsilon: 1e-4, globalDeviation: false },
    groups: range(0, count).map((row) => (k > 1 ? row : Math.floor(row / each))),
  });
  const collected = performance.now();
  const sampling = process.cpuUsage(before);

  const updates: Computed['updates'] = [];
  const share = count / work.updates;
  for (let update = 0; update < work.updates; update++) {
    const batches = range(0, share / batch).flatMap((pass) =>
      range(0, trained).map((step) => {
        const at = update * share + pass * batch;
        const of = ((k > 1 ? step : 0) * count + at) * k;
        return { samples: range(at, at + batch), step, advantages: advantages.slice(of, of + batch * k) };
      }),
    );
    const told = await trainer.step({ index: index++, learningRate: work.learningRate, batches });
    updates.push({ loss: told.loss ?? Number.NaN, kl: told.kl ?? 0, gradient: told.grad_norm ?? Number.NaN });
  }
  const all = process.cpuUsage(before);
  const samplingCpu = (sampling.user + sampling.system) / 1e6;
  return {
    parts: {
      rollout: (collected - started) / 1000 - rewardSeconds,
      reward: rewardSeconds,
      update: (performance.now() - collected) / 1000,
      sampling_cpu: samplingCpu,
      update_cpu: (all.user + all.system) / 1e6 - samplingCpu,
    },
    computed: { scores: [...scores], updates },
  };
}

console.log('ready');
let iteration = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const answer: (Parts | Computed)[] = [];
  const check = line === 'check';
  for (let i = 0; i < (check ? 2 : Number(line)); i++) {
    const { parts, computed } = await iterate(iteration++);
    answer.push(check ? computed : parts);
  }
  console.log(JSON.stringify(answer));
}
trainer.dispose();
reward.dispose();
