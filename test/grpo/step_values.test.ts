// Rewards on their way between processes: nothing of them may depend on calls or processes.
import { expect, test } from 'vitest';
import { assembled, packed, unpacked } from '../../cli/grpo/step_values.js';

const floats = (...values: number[]) => Float32Array.from(values);

test('rewards cross between processes to the bit, NaN and infinities too', () => {
  const values = floats(0.1, Number.NaN, -0, Number.POSITIVE_INFINITY, 1e-40);
  expect([...unpacked(packed(values.subarray(1)))]).toEqual([...values.subarray(1)]);
  expect(Object.is(unpacked(packed(values))[2], -0)).toBe(true);
});

test('parts of several calls and processes come together in their positions', () => {
  const form = { steps: 2, candidates: 2 };
  // Trajectory p at step s has candidates 100 s + 10 p + {0, 1}.
  const part = (...positions: number[]) => ({
    positions,
    values: floats(...[0, 1].flatMap((s) => positions.flatMap((p) => [100 * s + 10 * p, 100 * s + 10 * p + 1]))),
  });
  const whole = part(0, 1, 2, 3).values;
  const all = { trajectories: 4, ...form };
  expect(assembled([part(2), part(3, 0), part(1)], all).values).toEqual(whole);
  expect(assembled([part(1, 3), part(0), part(2)], all).values).toEqual(whole);
});
