import { expect, test } from 'vitest';
import { gains } from '../../../cli/grpo/algorithms/flow_grpo.js';

test('gains are differences of successive states', () => {
  expect([...gains(Float32Array.of(1, 2, 4, 8, 3, 3), 2)]).toEqual([3, 6, -1, -5]);
});
