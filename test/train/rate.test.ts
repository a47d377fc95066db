import { expect, test } from 'vitest';
import { learningRate } from '../../cli/train/rate.js';

// The numbers are those of learning_rate() in csrc/train/optimizer.cc for the same arguments.
test.each([
  ['constant', [0, 1, 4, 5, 50, 99], [0.2, 0.4, 1, 1, 1, 1]],
  ['linear', [0, 4, 5, 52, 99, 100], [0.2, 1, 1, 1 - (0.9 * 47) / 95, 1 - (0.9 * 94) / 95, 0.1]],
  ['cosine', [0, 4, 5, 52.5, 100, 200], [0.2, 1, 1, 0.55, 0.1, 0.1]],
] as const)('%s', (shape, at, expected) => {
  at.forEach((step, i) => {
    const rate = learningRate(step, 100, { peak: 2e-3, shape, warmUp: 5, floor: 0.1 });
    expect(rate / 2e-3).toBeCloseTo(expected[i] ?? Number.NaN, 12);
  });
});

test('no warm-up, and a warm-up as long as the run', () => {
  expect(learningRate(0, 10, { peak: 1, shape: 'cosine', warmUp: 0, floor: 0 })).toBe(1);
  expect(learningRate(9, 10, { peak: 1, shape: 'linear', warmUp: 10, floor: 0 })).toBe(1);
});
