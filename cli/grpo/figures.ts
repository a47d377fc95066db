// What is told of an iteration: of its rewards, and of its updates.

import type { StepAdvantages } from '../../binding/types.js';
import type { Values } from '../train/training_task.js';
import { COUNTS } from '../ui/figures.js';

/** Means over the steps; `reward` is NaN when no reward at all is finite. `firstStep`: which the first of the steps is. */
export function rewardFigures({ advantages, statistics }: StepAdvantages, firstStep: number): Values {
  const each = advantages.length / statistics.length;
  const some = statistics.filter(({ notFinite }) => notFinite < each);
  const mean = (name: 'mean' | 'deviation' | 'groupDeviation') =>
    some.reduce((sum, told) => sum + told[name], 0) / some.length; // NaN of none
  const sum = (name: 'groups' | 'zeroVariance' | 'notFinite') => statistics.reduce((sum, told) => sum + told[name], 0);
  const figures: Values = {
    reward: mean('mean'),
    reward_deviation: mean('deviation'),
    group_deviation: mean('groupDeviation'),
    advantage_max: advantages.reduce((most, a) => Math.max(most, Math.abs(a)), 0),
    zero_variance: sum('zeroVariance') / sum('groups'),
    reward_not_finite: sum('notFinite'),
  };
  if (statistics.length > 1)
    for (const [i, told] of statistics.entries()) {
      figures[`reward/${firstStep + i}`] = told.mean;
      figures[`group_deviation/${firstStep + i}`] = told.groupDeviation;
    }
  return figures;
}

/** Means over an iteration's updates, or the last value; of the variance of a ratio that is 1 on average, the deviation. */
export function updateFigures(updates: readonly Values[]): Values {
  const names = new Set(updates.flatMap((values) => Object.keys(values)));
  const means: Values = {};
  for (const name of names) {
    const told = updates.flatMap((values) => (name in values ? [values[name] as number] : []));
    const mean = told.reduce((sum, value) => sum + value, 0) / told.length;
    if (COUNTS.includes(name)) means[name] = told.at(-1) as number;
    else if (name.startsWith('ratio_variance')) means[name.replace('variance', 'deviation')] = Math.sqrt(mean);
    else means[name] = mean;
  }
  return means;
}

/** What one looks at first. */
const FIRST = ['loss', 'reward', 'group_deviation', 'zero_variance', 'kl', 'ratio', 'ratio_deviation', 'clip_fraction'];

/** As they are shown; those of single denoising steps last. */
export function inOrder(values: Values): Values {
  const rank = (name: string) =>
    FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length + Number(name.includes('/'));
  return Object.fromEntries(Object.entries(values).sort(([a], [b]) => rank(a) - rank(b)));
}
