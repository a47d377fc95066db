// Intervals, ranks and tables: the arithmetic between scores and what is printed.
import { describe, expect, test } from 'vitest';
import type { Features } from '../../binding/types.js';
import { estimate } from '../../cli/eval/bootstrap.js';
import { spreads } from '../../cli/eval/diversity.js';
import { nearness, retrieval } from '../../cli/eval/retrieval.js';
import { philox } from '../../cli/random/philox.js';
import { ranks } from '../../cli/rewards/features.js';
import { percent, table } from '../../cli/ui/table.js';

const features = (rows: number[][]): Features => ({
  values: Float32Array.from(rows.flat()),
  rows: rows.length,
  width: rows[0]?.length ?? 0,
});

describe('a bootstrap interval', () => {
  /** Two groups of coin throws would be nothing; 400 uniform numbers have a known spread. */
  const uniform = Array.from({ length: 400 }, (_, i) => (philox([i, 0, 1, 2], [3, 4])[0] as number) / 2 ** 32);

  test('has the width that the central limit theorem says', () => {
    const { mean, low, high, n } = estimate(uniform.map((value) => [value]));
    const deviation = Math.sqrt(uniform.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 399);
    expect(n).toBe(400);
    const expected = (2 * 1.96 * deviation) / Math.sqrt(400);
    expect((high - low) / expected).toBeGreaterThan(0.93);
    expect((high - low) / expected).toBeLessThan(1.07);
    expect(low).toBeLessThan(mean);
    expect(high).toBeGreaterThan(mean);
  });

  test('is the same for the same values, and is not narrowed by counting copies', () => {
    expect(estimate(uniform.map((v) => [v]))).toEqual(estimate(uniform.map((v) => [v])));
    expect(estimate(uniform.map((v) => [v, v, v]))).toEqual(estimate(uniform.map((v) => [v])));
    expect(estimate([...uniform, ...uniform, ...uniform].map((v) => [v])).high).toBeLessThan(
      estimate(uniform.map((v) => [v])).high,
    );
  });

  test('of one group is that group; empty ones do not count', () => {
    expect(estimate([[2, 4], []])).toEqual({ mean: 3, low: 3, high: 3, n: 1 });
  });
});

describe('ranks', () => {
  const captions = features([
    [1, 0],
    [0, 1],
    [Math.SQRT1_2, Math.SQRT1_2],
  ]);

  test('count the captions that are nearer', () => {
    expect(ranks(features([[1, 0]]), captions, () => 0)).toEqual([1]);
    expect(ranks(features([[1, 0]]), captions, () => 2)).toEqual([2]);
    expect(ranks(features([[1, 0]]), captions, () => 1)).toEqual([3]);
  });

  test('a scorer to which all is alike finds nothing', () => {
    const same = features([
      [1, 0],
      [1, 0],
      [1, 0],
    ]);
    expect(ranks(same, same, (i) => i)).toEqual([3, 3, 3]);
  });

  test('become shares of images, weighed by prompt', () => {
    const images = features([
      [1, 0],
      [1, 0],
      [0, 1],
    ]);
    // Two images of prompt 0, of which one is filed under the wrong caption, and one of prompt 1.
    const found = retrieval(nearness(images, captions, [0, 1, 1]), captions.rows, (i) => (i < 2 ? 0 : 1));
    expect(found.top1.mean).toBe(0.75);
    expect(found.top5.mean).toBe(1);
    expect(found.top1.n).toBe(2);
    expect(found.cosine.mean).toBe(0.75);
  });
});

test('images of a prompt are as different as the mean of their pairs', () => {
  const all = features([
    [1, 0],
    [0, 1],
    [0, 1],
    [1, 0],
  ]);
  expect(spreads(all, (i) => (i < 3 ? 7 : 8))).toEqual([2 / 3]); // of prompt 8 there is one image alone
});

test('a table lines its columns up', () => {
  const text = table(
    ['name', 'top-1'],
    [
      ['a', percent({ mean: 0.5, low: 0.25, high: 1 })],
      ['longer', '-'],
    ],
  );
  expect(text.split('\n')).toEqual(['name         top-1', 'a       50.0 ±37.5', 'longer           -']);
});
