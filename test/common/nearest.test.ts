import { expect, test } from 'vitest';
import { nearest } from '../../cli/common/nearest.js';

test('the nearest word, when one is near', () => {
  expect(nearest('stepz', ['steps', 'seed'])).toBe('steps');
  expect(nearest('zzzzzz', ['steps', 'seed'])).toBeUndefined();
});
