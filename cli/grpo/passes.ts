// The passes of an update: which trajectories go through the network together, at which step, with which advantages.
import type { TrainBatch } from '../../binding/types.js';
import type { Window } from './geometry.js';
import { type StepValues, valuesAt } from './step_values.js';

/** Trajectories that were sampled in one call: their positions in the plan, and the trainer's first row of them. */
export interface Sampled {
  positions: readonly number[];
  firstRow: number;
}

export interface PassOptions {
  window: Window;
  /** Trajectories a pass, at most. */
  pass: number;
  /** Leaves out those without an advantage. */
  drop: boolean;
}

const teaches = (advantages: Float32Array) => advantages.some((a) => a !== 0);

/** Whether any of these trajectories says that something was better than something else. */
export const anyTeaches = (advantages: StepValues, positions: readonly number[]): boolean =>
  positions.some((position) =>
    Array.from({ length: advantages.steps }, (_, step) => valuesAt(advantages, step, position)).some(teaches),
  );

/** Of each call's trajectories each step of the window, `pass` of them at a time. */
export function passesOf(
  sampled: readonly Sampled[],
  advantages: StepValues,
  { window, pass, drop }: PassOptions,
): TrainBatch[] {
  const batches: TrainBatch[] = [];
  for (const { positions, firstRow } of sampled)
    for (let step = window.from; step < window.until; step++)
      for (let from = 0; from < positions.length; from += pass) {
        const rows = positions.slice(from, from + pass).flatMap((position, i) => {
          const own = valuesAt(advantages, step - window.from, position);
          return drop && !teaches(own) ? [] : [{ row: firstRow + from + i, own }];
        });
        if (rows.length === 0) continue;
        const all = new Float32Array(rows.length * advantages.candidates);
        for (const [i, { own }] of rows.entries()) all.set(own, i * advantages.candidates);
        batches.push({ samples: rows.map(({ row }) => row), step, advantages: all });
      }
  return batches;
}
