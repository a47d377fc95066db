// The protocols against the figures that the sets' own evaluation code gives (test/golden/scorers/accuracy.json), and by hand.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { pooled } from '../../cli/eval/bootstrap.js';
import {
  bestThreshold,
  meanOverPrompts,
  pooledRankings,
  rankAgreement,
  type ScoredChoice,
  strict,
  strictChoices,
  tieAware,
} from '../../cli/eval/protocols.js';
import { repository } from '../run_drm.js';

const [file = ''] = [process.env.DRM_GOLDEN, join(repository, 'test/golden')]
  .flatMap((root) => (root ? [join(root, 'scorers/accuracy.json')] : []))
  .filter(existsSync);
const cases = JSON.parse(readFileSync(file, 'utf8')) as {
  lists: { rank: number[]; score: number[] }[];
  pairs: { score: [number, number]; label_0: number }[];
  expected: Record<string, number>;
};
const rankings = cases.lists.map(({ rank, score }) => ({ ranks: rank, scores: score }));
const choices: ScoredChoice[] = cases.pairs.map(({ score, label_0 }, i) => ({
  label: label_0,
  scores: score,
  group: String(i),
}));

describe('the golden accuracies', () => {
  test.each([
    ['micro_rank', pooledRankings(rankings)],
    ['inversion_macro', rankAgreement(rankings)],
    ['pick_threshold_0', tieAware(choices, 0)],
    ['pick_threshold_0.1', tieAware(choices, 0.1)],
    ['strict_pairs', strictChoices(choices)],
  ])('%s', (name, { accuracy }) => {
    expect(accuracy.mean).toBeCloseTo(cases.expected[name] as number, 12);
  });
});

const pair = (chosen: number | undefined, rejected: number | undefined, group = 'a') => ({ chosen, rejected, group });

describe('strict pairs', () => {
  test('count equal scores as wrong and leave out what has no score', () => {
    const found = strict([pair(2, 1), pair(1, 2), pair(1, 1), pair(undefined, 1), pair(0, -0)]);
    expect(found).toMatchObject({ correct: 1, of: 4, equal: 2, failed: 1, unit: 'pair' });
    expect(found.accuracy.mean).toBe(0.25);
  });

  test('resample prompts, not pairs', () => {
    const found = strict([pair(2, 1, 'a'), pair(2, 1, 'a'), pair(1, 2, 'b')]);
    expect(found.accuracy).toMatchObject({ mean: 2 / 3, low: 0, high: 1, n: 2 });
  });
});

describe('rankings', () => {
  const one = { ranks: [1, 2, 3], scores: [3, 1, 2] }; // one of three pairs inverted
  const other = { ranks: [1, 2], scores: [1, 0] };

  test('weigh pairs, or prompts', () => {
    expect(pooledRankings([one, other])).toMatchObject({ correct: 3, of: 4, unit: 'pair' });
    expect(meanOverPrompts([one, other]).accuracy.mean).toBeCloseTo((2 / 3 + 1) / 2, 12);
    expect(rankAgreement([one, other])).toMatchObject({ of: 2, unit: 'prompt' });
    expect(rankAgreement([one, other]).accuracy.mean).toBeCloseTo((2 / 3 + 1) / 2, 12);
  });

  test("people's ties never invert, but stand in the divisor of rank alone", () => {
    const tied = { ranks: [1, 1, 2], scores: [1, 2, 3] };
    expect(rankAgreement([tied]).accuracy.mean).toBeCloseTo(1 / 3, 12);
    expect(pooledRankings([tied])).toMatchObject({ correct: 0, of: 2, tied: 1 });
  });

  test('a reward that gives all images one score gains nothing by it', () => {
    const flat = [
      { ranks: [1, 2, 3], scores: [0, 0, 0] },
      { ranks: [3, 2, 1], scores: [0, 0, 0] },
    ];
    expect(pooledRankings(flat).accuracy.mean).toBe(0);
    expect(rankAgreement(flat).accuracy.mean).toBe(0.5);
  });

  test('only the pairs with an unscored image go', () => {
    const found = pooledRankings([{ ranks: [1, 2, 3], scores: [3, undefined, 1] }]);
    expect(found).toMatchObject({ correct: 1, of: 1, failed: 2 });
    expect(rankAgreement([{ ranks: [1, 2], scores: [1, undefined] }])).toMatchObject({ of: 0, failed: 1 });
  });
});

describe('tie-aware choices', () => {
  const choice = (label: number, zero: number, one: number): ScoredChoice => ({
    label,
    scores: [zero, one],
    group: `${label} ${zero} ${one}`,
  });

  test('give half a point where one of the two is a tie', () => {
    const found = tieAware(
      [choice(1, 5, 0), choice(0.5, 5, 0), choice(0.5, 1, 1), choice(0, 1, 1), choice(0, 5, 0)],
      0.1,
    );
    expect(found).toMatchObject({ correct: 1 + 0.5 + 1 + 0.5 + 0, of: 5, threshold: 0.1 });
  });

  test('take the smallest of the best thresholds', () => {
    expect(bestThreshold([choice(1, 5, 0)])).toBe(0);
    expect(bestThreshold([choice(0.5, 1, 0)])).toBe(0.5); // |p1 - p0| = 0.462
  });
});

test('a pooled interval is as wide as the ratio of sums over resampled groups says', () => {
  const groups = Array.from({ length: 300 }, (_, i) => Array.from({ length: 1 + (i % 3) }, () => Number(i % 2 === 0)));
  const { mean, low, high, n } = pooled(groups);
  const values = groups.flat();
  expect(mean).toBe(values.reduce((a, b) => a + b) / values.length);
  expect(n).toBe(300);
  // Linearised variance of a ratio: sum over groups of (s - mean c)^2 / (sum of c)^2.
  const spread = groups.reduce((sum, g) => sum + (g.reduce((a, b) => a + b) - mean * g.length) ** 2, 0);
  const expected = (2 * 1.96 * Math.sqrt(spread)) / values.length;
  expect((high - low) / expected).toBeGreaterThan(0.9);
  expect((high - low) / expected).toBeLessThan(1.1);
});
