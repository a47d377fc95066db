import { expect, test } from 'vitest';
import { weightedSum } from '../../cli/grpo/reward_parts.js';

test('a weighted sum; a part that is no number makes it none', () => {
  const sum = weightedSum([
    { weight: 0.5, scores: Float32Array.of(1, 2, Number.NaN) },
    { weight: -2, scores: [3, 4, 5] },
  ]);
  expect([...sum]).toEqual([-5.5, -7, Number.NaN]);
});
