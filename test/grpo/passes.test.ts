// What an update learns: nothing of it may depend on calls or passes.
import { describe, expect, test } from 'vitest';
import { anyTeaches, passesOf } from '../../cli/grpo/passes.js';
import type { StepValues } from '../../cli/grpo/step_values.js';

const floats = (...values: number[]) => Float32Array.from(values);

describe('passes of an update', () => {
  const advantages: StepValues = { steps: 2, candidates: 2, values: floats(1, -1, 0, 0, 2, -2, 3, -3, 4, -4, 0, 0) };
  const window = { from: 5, until: 7 };
  const told = (pass: number, drop = false) =>
    passesOf(
      [
        { positions: [0, 2], firstRow: 10 },
        { positions: [1], firstRow: 20 },
      ],
      advantages,
      { window, pass, drop },
    );
  /** What is learned, whatever the passes: (row, step) to advantages. */
  const learned = (pass: number) =>
    told(pass)
      .flatMap(({ samples, step, advantages: own }) =>
        samples.map((row, i) => `${row} ${step} ${[...(own as Float32Array)].slice(2 * i, 2 * i + 2)}`),
      )
      .sort();

  test('are of one call and one step, rows and advantages in their order', () => {
    expect(told(2)).toEqual([
      { samples: [10, 11], step: 5, advantages: floats(1, -1, 2, -2) },
      { samples: [10, 11], step: 6, advantages: floats(3, -3, 0, 0) },
      { samples: [20], step: 5, advantages: floats(0, 0) },
      { samples: [20], step: 6, advantages: floats(4, -4) },
    ]);
  });
  test('of whatever size, are of the same rows, steps and advantages', () => {
    expect(learned(1)).toEqual(learned(2));
    expect(told(1)).toHaveLength(6);
  });
  test('leave out what teaches nothing, when asked to', () => {
    expect(told(2, true)).toEqual([
      { samples: [10, 11], step: 5, advantages: floats(1, -1, 2, -2) },
      { samples: [10], step: 6, advantages: floats(3, -3) },
      { samples: [20], step: 6, advantages: floats(4, -4) },
    ]);
  });
  test('of one reward for all steps have the same advantages at each', () => {
    const terminal: StepValues = { steps: 1, candidates: 1, values: floats(1, -1, 0) };
    const batches = passesOf([{ positions: [1], firstRow: 0 }], terminal, { window, pass: 1, drop: false });
    expect(batches.map((batch) => [...(batch.advantages as Float32Array)])).toEqual([[-1], [-1]]);
    expect(anyTeaches(terminal, [2])).toBe(false);
    expect(anyTeaches(terminal, [2, 1])).toBe(true);
  });
});
