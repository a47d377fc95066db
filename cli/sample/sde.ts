// A path with a candidate's noise at each step and no choice: what the noise does, beside what the choice does.
import type { StepwiseRequest } from '../../binding/types.js';

/** `from` and `until` are fractions of the trajectory. */
export const sdePath = (noiseLevel: number, from = 0, until = 1): StepwiseRequest => ({
  k: 1,
  noiseLevel,
  temperature: 0,
  scoreFrom: from,
  scoreUntil: until,
  trace: false,
});
