// The first half of an iteration: this process's trajectories by the policy as it is, with their rewards.

import { secondsSince } from '../common/events.js';
import type { GrpoSettings } from '../config/types.js';
import { algorithmOf } from './algorithms/registry.js';
import type { Sampled } from './passes.js';
import { phaseProgress } from './phase_progress.js';
import { type IterationPlan, sharesOf, type Trajectory } from './plan.js';
import type { PolicyContext, PolicyParts } from './policy_parts.js';

/** Trajectories with their rewards: steps x trajectories x candidates. */
export interface Rewarded extends Sampled {
  values: Float32Array;
}

export interface Collected {
  /** Of each update, in network calls. */
  shares: Rewarded[][];
  rolloutSeconds: number;
  rewardSeconds: number;
}

export class Rollouts {
  constructor(
    private readonly settings: GrpoSettings,
    private readonly parts: PolicyParts,
    private readonly context: PolicyContext,
  ) {}

  async collect(plan: IterationPlan): Promise<Collected> {
    const { geometry } = this.parts;
    const shares = sharesOf(geometry, this.context.team.rank);
    const all: Collected = { shares: [], rolloutSeconds: 0, rewardSeconds: 0 };
    const total = geometry.steps * shares.flat().length;
    const progress = phaseProgress(this.context, { label: 'sampling', total, unit: 'step' });
    let done = 0;
    for (const share of shares) {
      const sampled: Rewarded[] = [];
      for (const positions of share) {
        const call = await this.#sample(plan, positions, (step) => progress(done + step));
        sampled.push(call.rewarded);
        all.rolloutSeconds += call.rolloutSeconds;
        all.rewardSeconds += call.rewardSeconds;
        done += geometry.steps;
      }
      all.shares.push(sampled);
    }
    return all;
  }

  async #sample(plan: IterationPlan, positions: readonly number[], onStep: (step: number) => void) {
    const { settings: s } = this;
    const { trainer, rewards, texts, geometry } = this.parts;
    const algorithm = algorithmOf(s);
    // Alone, an interruption need not wait: nothing has changed yet, and the resumed run samples the same again.
    const job = this.context.team.alone ? { signal: this.context.signal } : {};
    const own = positions.map((position) => plan.trajectories[position] as Trajectory);
    const prompts = own.map(({ prompt }) => this.parts.prompts[prompt] as string);
    const began = performance.now();
    const rolled = await trainer.rollout(
      {
        iteration: plan.iteration,
        ...(await texts.request(prompts)),
        samples: own.map(({ sample }) => sample),
        latents: own.map(({ latents }) => latents),
        k: geometry.k,
        continue: s.continue,
        ...plan.window,
        rewards: rewards.forCore(),
        score: algorithm.scored(s),
        images: rewards.seesImages,
      },
      { ...job, onProgress: ({ phase, step }) => phase === 'rollout' && onStep(step) },
    );
    const rolloutSeconds = secondsSince(began) - rolled.rewardSeconds;
    const scoring = performance.now();
    const total = await rewards.total(rolled.scores, { images: rolled.images, prompts }, job);
    const rewardSeconds = rolled.rewardSeconds + secondsSince(scoring);
    const values = algorithm.rewards(total, positions.length, s);
    const rewarded: Rewarded = { positions, firstRow: rolled.firstRow, values };
    return { rewarded, rolloutSeconds, rewardSeconds };
  }
}
