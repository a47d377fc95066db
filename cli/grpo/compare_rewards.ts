// Between the halves of an iteration: rewards of all processes against each other. Each process comes to the same advantages.
import { DrmError } from '../../binding/error.js';
import { stepAdvantages } from '../../binding/index.js';
import type { GrpoSettings } from '../config/types.js';
import type { Team } from '../parallel/team.js';
import type { Values } from '../train/training_task.js';
import { algorithmOf } from './algorithms/registry.js';
import { rewardFigures } from './figures.js';
import type { Geometry } from './geometry.js';
import { type IterationPlan, sharesOf } from './plan.js';
import type { Rewarded } from './rollouts.js';
import { assembled, packed, type StepValues, unpacked } from './step_values.js';

/** What a process tells the others of its trajectories. */
interface Report {
  /** Of each network call. */
  rewards?: string[];
  /** The latents of some stopped being finite. */
  failed?: string;
}

export interface ComparedRewards {
  /** Like the rewards. */
  advantages: StepValues;
  figures: Values;
}

/**
 * `own`: this process's trajectories in network calls, or why there are none. Throws DrmError NOT_FINITE, on all processes,
 * where one of them has none, and where no reward at all is finite.
 */
export async function compareRewards(
  { trajectories, window }: IterationPlan,
  own: readonly Rewarded[] | DrmError,
  { settings: s, geometry, team }: { settings: GrpoSettings; geometry: Geometry; team: Team },
): Promise<ComparedRewards> {
  const algorithm = algorithmOf(s);
  const told = await team.exchange<Report>(
    own instanceof DrmError ? { failed: own.message } : { rewards: own.map(({ values }) => packed(values)) },
  );
  const failed = told.find(({ failed }) => failed !== undefined)?.failed;
  if (failed !== undefined) throw notFinite(failed);
  const parts = told.flatMap(({ rewards = [] }, rank) => {
    const calls = sharesOf(geometry, rank).flat();
    return rewards.map((values, i) => ({ positions: calls[i] ?? [], values: unpacked(values) }));
  });
  const [states, candidates] = [trajectories.length, geometry.k];
  const steps = algorithm.rewardedSteps(s, geometry.trained);
  const result = stepAdvantages({
    rewards: assembled(parts, { trajectories: states, steps, candidates }).values,
    ...{ steps, candidates },
    groups: s.statistics === 'batch' ? trajectories.map(() => 0) : algorithm.groupsOf(trajectories),
    globalDeviation: s.global_deviation,
    epsilon: s.advantage_epsilon,
  });
  const figures = rewardFigures(result, window.from);
  if (!Number.isFinite(figures.reward)) throw notFinite('no reward of the iteration is a finite number');
  return { advantages: { steps, candidates, values: result.advantages }, figures };
}

const notFinite = (message: string) =>
  new DrmError('NOT_FINITE', `[grpo] ${message}`, { name: 'reward', found: 'NaN' });
