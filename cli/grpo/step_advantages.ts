// Eq. 11, and with one candidate a state Eq. 3: how much better each reward of an iteration is than those it is compared with.
import { groupAdvantages } from '../../binding/index.js';
import type { Advantages } from '../../binding/types.js';

export interface StepAdvantagesRequest {
  /** steps x states x candidates, in this order, of all processes. Those that are not finite are left out of all statistics. */
  rewards: Float32Array;
  steps: number;
  /** Of a step: one a trajectory. */
  states: number;
  candidates: number;
  /** Of each state, any number: candidates of states with equal numbers are one group. */
  groups: readonly number[];
  /** Divide by the deviation of all rewards of the step instead of the group's. */
  globalDeviation: boolean;
  /** Added to the deviation. */
  epsilon: number;
}

/** Of the rewards of one step. */
export type StepStatistics = Omit<Advantages, 'advantages'>;

export interface StepAdvantages {
  /** Like the rewards; 0 where the reward is not finite. */
  advantages: Float32Array;
  /** A step each. */
  statistics: StepStatistics[];
}

/** Rewards of one step are compared with each other alone: those of different noise levels mean different things. */
export function stepAdvantages(request: StepAdvantagesRequest): StepAdvantages {
  const { rewards, steps, states, candidates, globalDeviation, epsilon } = request;
  const each = states * candidates;
  const groups = request.groups.flatMap((group) => Array.from({ length: candidates }, () => group));
  const advantages = new Float32Array(rewards.length);
  const statistics = Array.from({ length: steps }, (_, step) => {
    const own = rewards.slice(step * each, (step + 1) * each);
    const { advantages: found, ...told } = groupAdvantages({ rewards: own, groups, globalDeviation, epsilon });
    advantages.set(found, step * each);
    return told;
  });
  return { advantages, statistics };
}
