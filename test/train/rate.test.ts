import { expect, test } from 'vitest';
import { learningRate } from '../../cli/train/rate.js';

// learning_rate() of csrc/optim/optimizer.cc, called with these arguments, printed these numbers.
const AT = [0, 3, 4, 5, 37, 99, 100, 150];
test.each([
  ['constant', [0.0004, 0.0016, 0.002, 0.002, 0.002, 0.002, 0.002, 0.002]],
  ['linear', [0.0004, 0.0016, 0.002, 0.002, 0.0013936842105263158, 0.00021894736842105255, 0.0002, 0.0002]],
  ['cosine', [0.0004, 0.0016, 0.002, 0.002, 0.0015413811534474575, 0.0002004920683931666, 0.0002, 0.0002]],
] as const)('%s', (shape, expected) => {
  AT.forEach((step, i) => {
    const rate = learningRate(step, 100, { peak: 2e-3, shape, warmUp: 5, floor: 0.1 });
    expect(rate, `step ${step}`).toBeCloseTo(expected[i] ?? Number.NaN, 17);
  });
});

test('no warm-up, and a warm-up as long as the run', () => {
  expect(learningRate(0, 10, { peak: 1, shape: 'cosine', warmUp: 0, floor: 0 })).toBe(1);
  expect(learningRate(9, 10, { peak: 1, shape: 'linear', warmUp: 10, floor: 0 })).toBe(1);
});
