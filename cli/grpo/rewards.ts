// From the rewards of an iteration, gathered from all processes, to advantages and the passes of its updates.
import type { AdvantageRequest, Advantages, TrainBatch } from '../../binding/types.js';
import type { Values } from '../train/loop.js';
import type { Window } from './plan.js';

/** Rewards of trajectories, or of their candidates: steps x trajectories x columns. One step where it is for all steps. */
export interface Graded {
  steps: number;
  columns: number;
  values: Float32Array;
}

/** A weighted sum of scores, rounded once. */
export function weightedSum(parts: readonly { weight: number; scores: ArrayLike<number> }[]): Float32Array {
  return Float32Array.from({ length: parts[0]?.scores.length ?? 0 }, (_, i) =>
    parts.reduce((sum, { weight, scores }) => sum + weight * (scores[i] as number), 0),
  );
}

/** What each step gained: rewards of (steps + 1) states, state by state, to those of steps. */
export function gains(states: Float32Array, trajectories: number): Float32Array {
  return Float32Array.from(
    { length: states.length - trajectories },
    (_, i) => (states[i + trajectories] as number) - (states[i] as number),
  );
}

/** JSON has no NaN, and rewards must arrive to the bit. */
export const packed = (values: Float32Array): string =>
  Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');

export const unpacked = (text: string): Float32Array =>
  new Float32Array(new Uint8Array(Buffer.from(text, 'base64')).buffer);

/** Parts of the trajectories, each steps x its positions x columns, put in their places among all of them. */
export function assembled(
  parts: readonly { positions: readonly number[]; values: Float32Array }[],
  { trajectories, steps, columns }: { trajectories: number; steps: number; columns: number },
): Graded {
  const all = new Float32Array(steps * trajectories * columns);
  for (const { positions, values } of parts)
    for (let step = 0; step < steps; step++)
      for (const [i, position] of positions.entries()) {
        const from = (step * positions.length + i) * columns;
        all.set(values.subarray(from, from + columns), (step * trajectories + position) * columns);
      }
  return { steps, columns, values: all };
}

/** Likewise of the parts of one process, which then are one part. */
export function joined(
  parts: readonly { positions: readonly number[]; values: Float32Array }[],
  { steps, columns }: { steps: number; columns: number },
): { positions: number[]; values: Float32Array } {
  const positions = parts.flatMap((part) => part.positions);
  let first = 0;
  const local = parts.map((part) => {
    const places = part.positions.map((_, i) => first + i);
    first += places.length;
    return { positions: places, values: part.values };
  });
  return { positions, values: assembled(local, { trajectories: positions.length, steps, columns }).values };
}

export interface Comparison {
  /** Of each trajectory, its group where trajectories are compared. */
  groupOf: readonly number[];
  /** All rewards of a step are one group. */
  together: boolean;
  globalDeviation: boolean;
  epsilon: number;
  /** The core's groupAdvantages(). */
  compare: (request: AdvantageRequest) => Advantages;
}

export interface Compared {
  /** Like the rewards. */
  advantages: Graded;
  figures: Values;
}

/**
 * Rewards of one step are compared with each other alone: those of different noise levels mean different things. The
 * figures are means over the steps; `reward` is NaN when no reward at all is finite. `firstStep` names the first of them.
 */
export function compared(
  rewards: Graded,
  firstStep: number,
  { groupOf, together, globalDeviation, epsilon, compare }: Comparison,
): Compared {
  const { steps, columns, values } = rewards;
  const each = groupOf.length * columns;
  const groups = groupOf.flatMap((group, trajectory) =>
    Array.from({ length: columns }, () => (together ? 0 : columns > 1 ? trajectory : group)),
  );
  const advantages = new Float32Array(values.length);
  const figures: Values = {};
  const byStep = Array.from({ length: steps }, (_, step) => {
    const told = compare({ rewards: values.slice(step * each, (step + 1) * each), groups, globalDeviation, epsilon });
    advantages.set(told.advantages, step * each);
    return told;
  });
  const some = byStep.filter(({ notFinite }) => notFinite < each);
  const mean = (name: 'mean' | 'deviation' | 'groupDeviation') =>
    some.reduce((sum, told) => sum + told[name], 0) / some.length; // NaN of none
  const sum = (name: 'groups' | 'zeroVariance' | 'notFinite') => byStep.reduce((sum, told) => sum + told[name], 0);
  figures.reward = mean('mean');
  figures.reward_deviation = mean('deviation');
  figures.group_deviation = mean('groupDeviation');
  figures.advantage_max = advantages.reduce((most, a) => Math.max(most, Math.abs(a)), 0);
  figures.zero_variance = sum('zeroVariance') / sum('groups');
  figures.reward_not_finite = sum('notFinite');
  if (steps > 1)
    for (const [i, told] of byStep.entries()) {
      figures[`reward/${firstStep + i}`] = told.mean;
      figures[`group_deviation/${firstStep + i}`] = told.groupDeviation;
    }
  return { advantages: { steps, columns, values: advantages }, figures };
}

/** Advantages of a trajectory at a step of the window, counted from its first. */
function advantagesOf({ steps, columns, values }: Graded, step: number, position: number): Float32Array {
  const trajectories = values.length / steps / columns;
  const from = ((steps === 1 ? 0 : step) * trajectories + position) * columns;
  return values.subarray(from, from + columns);
}

const teaches = (advantages: Float32Array) => advantages.some((a) => a !== 0);

/** Whether any of these trajectories says that something was better than something else. */
export const anyTeaches = (advantages: Graded, positions: readonly number[]): boolean =>
  positions.some((position) =>
    Array.from({ length: advantages.steps }, (_, step) => advantagesOf(advantages, step, position)).some(teaches),
  );

/** Trajectories that were sampled in one call: their places in the iteration, and the trainer's first row of them. */
export interface Sampled {
  positions: readonly number[];
  firstRow: number;
}

/**
 * The passes of an update: of each call's trajectories each step of the window, `pass` of them at a time. With `drop`,
 * those without an advantage are left out.
 */
export function passesOf(
  sampled: readonly Sampled[],
  advantages: Graded,
  { window, pass, drop }: { window: Window; pass: number; drop: boolean },
): TrainBatch[] {
  const batches: TrainBatch[] = [];
  for (const { positions, firstRow } of sampled)
    for (let step = window.from; step < window.until; step++)
      for (let from = 0; from < positions.length; from += pass) {
        const rows = positions.slice(from, from + pass).flatMap((position, i) => {
          const own = advantagesOf(advantages, step - window.from, position);
          return drop && !teaches(own) ? [] : [{ row: firstRow + from + i, own }];
        });
        if (rows.length === 0) continue;
        const all = new Float32Array(rows.length * advantages.columns);
        for (const [i, { own }] of rows.entries()) all.set(own, i * advantages.columns);
        batches.push({ samples: rows.map(({ row }) => row), step, advantages: all });
      }
  return batches;
}
