// From rewards to advantages and passes: nothing of it may depend on processes, calls or passes.
import { describe, expect, test } from 'vitest';
import { groupAdvantages } from '../../binding/index.js';
import {
  anyTeaches,
  assembled,
  type Comparison,
  compared,
  type Graded,
  gains,
  joined,
  packed,
  passesOf,
  unpacked,
  weightedSum,
} from '../../cli/grpo/rewards.js';

const floats = (...values: number[]) => Float32Array.from(values);
const comparing = (changes: Partial<Comparison> = {}): Comparison => ({
  ...{ groupOf: [0, 0, 1, 1], together: false, globalDeviation: false, epsilon: 1e-4 },
  ...{ compare: groupAdvantages, ...changes },
});
const close = (values: Float32Array) => [...values].map((value) => Number(value.toFixed(3)));

test('rewards cross between processes to the bit, NaN and infinities too', () => {
  const values = floats(0.1, Number.NaN, -0, Number.POSITIVE_INFINITY, 1e-40);
  expect([...unpacked(packed(values.subarray(1)))]).toEqual([...values.subarray(1)]);
  expect(Object.is(unpacked(packed(values))[2], -0)).toBe(true);
});

test('parts of several calls and processes come together in their places', () => {
  const form = { steps: 2, columns: 2 };
  // Trajectory p at step s has candidates 100 s + 10 p + {0, 1}.
  const part = (...positions: number[]) => ({
    positions,
    values: floats(...[0, 1].flatMap((s) => positions.flatMap((p) => [100 * s + 10 * p, 100 * s + 10 * p + 1]))),
  });
  const whole = part(0, 1, 2, 3).values;
  const all = { trajectories: 4, ...form };
  expect(assembled([part(2), part(3, 0), part(1)], all).values).toEqual(whole);
  expect(assembled([joined([part(0), part(2)], form), joined([part(1, 3)], form)], all).values).toEqual(whole);
});

test('a weighted sum; a part that is no number makes it none', () => {
  const sum = weightedSum([
    { weight: 0.5, scores: floats(1, 2, Number.NaN) },
    { weight: -2, scores: [3, 4, 5] },
  ]);
  expect([...sum]).toEqual([-5.5, -7, Number.NaN]);
});

test('gains are differences of successive states', () => {
  expect([...gains(floats(1, 2, 4, 8, 3, 3), 2)]).toEqual([3, 6, -1, -5]);
});

describe('advantages', () => {
  const terminal = (...values: number[]): Graded => ({ steps: 1, columns: 1, values: floats(...values) });

  test('of trajectories, within their prompt', () => {
    const { advantages, figures } = compared(terminal(1, 3, 10, 10), 0, comparing());
    expect(close(advantages.values)).toEqual([-1, 1, 0, 0]);
    expect(figures).toMatchObject({ reward: 6, zero_variance: 0.5, reward_not_finite: 0, group_deviation: 0.5 });
    expect(figures.advantage_max).toBeCloseTo(1, 3);
    expect(Object.keys(figures).some((name) => name.includes('/'))).toBe(false);
  });
  test('of all together', () => {
    const { advantages } = compared(terminal(1, 1, 3, 3), 0, comparing({ together: true }));
    expect(close(advantages.values)).toEqual([-1, -1, 1, 1]);
  });
  test('by the deviation of all', () => {
    const { advantages } = compared(terminal(1, 3, 5, 15), 0, comparing({ globalDeviation: true }));
    const deviation = Math.sqrt(((1 - 6) ** 2 + (3 - 6) ** 2 + (5 - 6) ** 2 + (15 - 6) ** 2) / 4);
    expect(close(advantages.values)).toEqual([-1, 1, -5, 5].map((d) => Number((d / deviation).toFixed(3))));
  });
  test('a reward that is no number has none, and is counted; the others are compared', () => {
    const { advantages, figures } = compared(terminal(Number.NaN, 3, 1, 2), 0, comparing({ together: true }));
    expect(close(advantages.values)).toEqual([0, 1.225, -1.225, 0]);
    expect(figures).toMatchObject({ reward: 2, reward_not_finite: 1 });
  });
  test('no number at all: the reward is none', () => {
    expect(compared(terminal(Number.NaN, Number.NaN), 0, comparing({ groupOf: [0, 0] })).figures.reward).toBeNaN();
  });
  test('of candidates, within their state and step alone', () => {
    // Two steps, two trajectories, two candidates. Levels differ by a hundred between steps and by ten between states.
    const rewards = { steps: 2, columns: 2, values: floats(1, 2, 12, 11, 101, 102, 112, 112) };
    const { advantages, figures } = compared(rewards, 3, comparing({ groupOf: [0, 0] }));
    expect(close(advantages.values)).toEqual([-1, 1, 1, -1, -1, 1, 0, 0]);
    expect(figures).toMatchObject({
      ...{ 'reward/3': 6.5, 'reward/4': 106.75, 'group_deviation/3': 0.5, 'group_deviation/4': 0.25 },
      ...{ zero_variance: 0.25, reward: 56.625 },
    });
  });
});

describe('passes of an update', () => {
  const advantages: Graded = { steps: 2, columns: 2, values: floats(1, -1, 0, 0, 2, -2, 3, -3, 4, -4, 0, 0) };
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
    const terminal: Graded = { steps: 1, columns: 1, values: floats(1, -1, 0) };
    const batches = passesOf([{ positions: [1], firstRow: 0 }], terminal, { window, pass: 1, drop: false });
    expect(batches.map((batch) => [...(batch.advantages as Float32Array)])).toEqual([[-1], [-1]]);
    expect(anyTeaches(terminal, [2])).toBe(false);
    expect(anyTeaches(terminal, [2, 1])).toBe(true);
  });
});
