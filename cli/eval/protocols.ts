// How each preference set counts a reward model's right answers. The sets differ in what a tie costs and in what is
// averaged over what, so that a figure means nothing without its protocol: every figure here carries its own.
import type { ProtocolName } from '../data/sets/published.js';
import { average, type Estimate, pooled } from './bootstrap.js';

/** Two images of which people preferred one. Undefined scores: an image could not be scored. */
export interface ScoredPair {
  chosen: number | undefined;
  rejected: number | undefined;
  /** Pairs of one prompt share images and difficulty: the interval resamples them together. */
  group: string;
}

/** Images of one prompt in people's order, lower is better, equal is a tie. */
export interface ScoredRanking {
  ranks: readonly number[];
  scores: readonly (number | undefined)[];
}

/** Pick-a-Pic's form of a pair: 1 when image 0 was preferred, 0 when image 1 was, 0.5 for a tie. */
export interface ScoredChoice {
  label: number;
  scores: readonly [number | undefined, number | undefined];
  group: string;
}

export interface Figure {
  /** As it can be asked for: 'strict'. */
  protocol: ProtocolName;
  definition: string;
  accuracy: Estimate;
  /** Sum over what was counted: whole but for protocols that give half a point. */
  correct: number;
  of: number;
  /** What `of` counts. */
  unit: 'pair' | 'prompt' | 'choice';
  /** Decided pairs whose two scores are equal. */
  equal: number;
  /** Left out since people saw no difference. */
  tied: number;
  /** Left out since an image has no score. */
  failed: number;
  /** Of tie-aware counting: |p1 - p0| up to here is a predicted tie. */
  threshold?: number;
}

export const DEFINITIONS: Record<ProtocolName, string> = {
  strict: 'score(preferred) > score(other), equal scores wrong; over the pairs that could be scored, ties left out',
  pooled: 'pairs of different rank of all prompts together, smaller rank wins, equal scores wrong',
  rank: 'mean over prompts of 1 - inversions / all pairs; ties of people never invert, equal scores rank as listed (in no order by HPSv2’s own script); pairs with an image that failed are left out (there another prompt stands in for theirs)',
  'mean-over-prompts': 'as pooled, but each prompt by itself, then the mean over prompts',
  'tie-aware':
    'p = softmax of the two scores, |p1 - p0| <= threshold predicts a tie; right 1, one tie of the two 0.5, else 0',
};

interface Counts {
  equal?: number;
  tied?: number;
  failed?: number;
  threshold?: number;
}

/** `groups` hold what was earned, one number a unit. */
function figure(protocol: ProtocolName, unit: Figure['unit'], groups: number[][], counts: Counts): Figure {
  const of = groups.reduce((sum, group) => sum + group.length, 0);
  const correct = groups.reduce((sum, group) => sum + group.reduce((a, b) => a + b, 0), 0);
  const { equal = 0, tied = 0, failed = 0, threshold } = counts;
  return {
    protocol,
    definition: DEFINITIONS[protocol],
    accuracy: pooled(groups),
    correct,
    of,
    unit,
    equal,
    tied,
    failed,
    ...(threshold !== undefined && { threshold }),
  };
}

class Groups {
  readonly #groups = new Map<string, number[]>();

  add(group: string, value: number): void {
    const known = this.#groups.get(group);
    if (known) known.push(value);
    else this.#groups.set(group, [value]);
  }

  get all(): number[][] {
    return [...this.#groups.values()];
  }
}

/** HPDv3, and any list of pairs. */
export function strict(pairs: Iterable<ScoredPair>): Figure {
  const groups = new Groups();
  let equal = 0;
  let failed = 0;
  for (const { chosen, rejected, group } of pairs) {
    if (chosen === undefined || rejected === undefined) {
      failed += 1;
      continue;
    }
    if (chosen === rejected) equal += 1;
    groups.add(group, Number(chosen > rejected));
  }
  return figure('strict', 'pair', groups.all, { equal, failed });
}

/** What one ranking gives; pairs with an image that has no score are counted and left out. */
function judge({ ranks, scores }: ScoredRanking) {
  const found = { right: 0, decided: 0, equal: 0, tied: 0, failed: 0, inverted: 0, scored: 0 };
  for (let a = 0; a < ranks.length; a++)
    for (let b = a + 1; b < ranks.length; b++) {
      const before = (ranks[a] as number) - (ranks[b] as number);
      const [x, y] = [scores[a], scores[b]];
      if (x === undefined || y === undefined) {
        found.failed += 1;
        continue;
      }
      found.scored += 1;
      if (before === 0) {
        found.tied += 1;
        continue;
      }
      found.decided += 1;
      if (x === y) found.equal += 1;
      const [winner, loser] = before < 0 ? [x, y] : [y, x];
      if (winner > loser) found.right += 1;
      // A predicted order is a sorted list: of equal scores the first listed stands first.
      if (winner < loser || (x === y && before > 0)) found.inverted += 1;
    }
  return found;
}

function judgeAll(rankings: readonly ScoredRanking[]) {
  const each = rankings.map(judge);
  const sum = (key: 'equal' | 'tied' | 'failed') => each.reduce((total, found) => total + found[key], 0);
  return { each, counts: { equal: sum('equal'), tied: sum('tied'), failed: sum('failed') } };
}

const winsOf = ({ right, decided }: { right: number; decided: number }): number[] =>
  Array.from({ length: decided }, (_, i) => Number(i < right));

/** ImageReward. */
export function pooledRankings(rankings: readonly ScoredRanking[]): Figure {
  const { each, counts } = judgeAll(rankings);
  return figure('pooled', 'pair', each.map(winsOf), counts);
}

/** HPDv2. Prompts with fewer than two scored images say nothing. */
export function rankAgreement(rankings: readonly ScoredRanking[]): Figure {
  const { each, counts } = judgeAll(rankings);
  const values = each.flatMap(({ inverted, scored }) => (scored > 0 ? [[1 - inverted / scored]] : []));
  return figure('rank', 'prompt', values, { ...counts, tied: 0 });
}

export function meanOverPrompts(rankings: readonly ScoredRanking[]): Figure {
  const { each, counts } = judgeAll(rankings);
  const values = each.flatMap(({ right, decided }) => (decided > 0 ? [[right / decided]] : []));
  return figure('mean-over-prompts', 'prompt', values, counts);
}

const TIE = 0.5;

/** Pick-a-Pic without its ties. */
export function strictChoices(choices: readonly ScoredChoice[]): Figure {
  const decided = choices.filter(({ label }) => label !== TIE);
  const counted = strict(
    decided.map(({ label, scores: [zero, one], group }) =>
      label === 1 ? { chosen: zero, rejected: one, group } : { chosen: one, rejected: zero, group },
    ),
  );
  return { ...counted, tied: choices.length - decided.length };
}

/** Points of a choice, or undefined when an image has no score. */
function points({ label, scores: [zero, one] }: ScoredChoice, threshold: number): number | undefined {
  if (zero === undefined || one === undefined) return undefined;
  const p0 = 1 / (1 + Math.exp(one - zero));
  const predicted = Math.abs(1 - 2 * p0) <= threshold ? TIE : Number(p0 > 0.5);
  return predicted === label ? 1 : predicted === TIE || label === TIE ? 0.5 : 0;
}

function earned(choices: readonly ScoredChoice[], threshold: number): { groups: number[][]; failed: number } {
  const groups = new Groups();
  let failed = 0;
  for (const choice of choices) {
    const value = points(choice, threshold);
    if (value === undefined) failed += 1;
    else groups.add(choice.group, value);
  }
  return { groups: groups.all, failed };
}

/** Pick-a-Pic as PickScore counts it. The scores must be logits of one scale. */
export function tieAware(choices: readonly ScoredChoice[], threshold: number): Figure {
  const { groups, failed } = earned(choices, threshold);
  return figure('tie-aware', 'choice', groups, { failed, threshold });
}

const THRESHOLDS = Array.from({ length: 11 }, (_, i) => i / 10);

/** The threshold of {0, 0.1, ... 1} that does best on validation choices, the smallest of equals. */
export function bestThreshold(validation: readonly ScoredChoice[]): number {
  let best = 0;
  let most = Number.NEGATIVE_INFINITY;
  for (const threshold of THRESHOLDS) {
    const all = average(earned(validation, threshold).groups.flat());
    if (all > most) {
      most = all;
      best = threshold;
    }
  }
  return best;
}
