// Rewards and advantages of an iteration: a value for each denoising step, trajectory and candidate.

/** Steps x trajectories x candidates, in this order; one step where its values are for all steps. */
export interface StepValues {
  steps: number;
  candidates: number;
  values: Float32Array;
}

/** Those of some trajectories, which are named by their positions in the iteration's plan. */
export interface PartOfValues {
  positions: readonly number[];
  values: Float32Array;
}

/** JSON has no NaN, and rewards must arrive to the bit. */
export const packed = (values: Float32Array): string =>
  Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');

export const unpacked = (text: string): Float32Array =>
  new Float32Array(new Uint8Array(Buffer.from(text, 'base64')).buffer);

/** Parts of the trajectories, put in their positions among all of them. */
export function assembled(
  parts: readonly PartOfValues[],
  { trajectories, steps, candidates }: { trajectories: number; steps: number; candidates: number },
): StepValues {
  const all = new Float32Array(steps * trajectories * candidates);
  for (const { positions, values } of parts)
    for (let step = 0; step < steps; step++)
      for (const [i, position] of positions.entries()) {
        const from = (step * positions.length + i) * candidates;
        all.set(values.subarray(from, from + candidates), (step * trajectories + position) * candidates);
      }
  return { steps, candidates, values: all };
}

/** Of a trajectory's candidates at a trained step, counted from the first. */
export function valuesAt({ steps, candidates, values }: StepValues, step: number, position: number): Float32Array {
  const trajectories = values.length / steps / candidates;
  const from = ((steps === 1 ? 0 : step) * trajectories + position) * candidates;
  return values.subarray(from, from + candidates);
}
