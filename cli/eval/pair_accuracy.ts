// From scores to accuracies: overall, and by whatever the pairs say of themselves.
import { own } from '../common/shape.js';
import type { ProtocolName } from '../data/sets/published.js';
import { PUBLISHED_SETS } from '../data/sets/registry.js';
import type { Level } from '../rewards/levels.js';
import { type Estimate, pooled } from './bootstrap.js';
import type { EvalPair } from './pair_scores.js';
import {
  type Figure,
  meanOverPrompts,
  pooledRankings,
  rankAgreement,
  type ScoredChoice,
  type ScoredRanking,
  strict,
  tieAware,
} from './protocols.js';

/** Whose scores, at which noise level. */
export interface Column {
  reward: string;
  level: Level;
  /** What makes logits of the scores. */
  scale: number;
  /** By image under prompt; NaN where there is none. */
  scores: Float64Array;
}

const scored = (score: number | undefined): number | undefined =>
  score === undefined || Number.isNaN(score) ? undefined : score;

const scoredPair = (pair: EvalPair, scores: Float64Array) => ({
  chosen: scored(scores[pair.chosen]),
  rejected: scored(scores[pair.rejected]),
  group: pair.group,
});

/** Strict over the pairs that are no ties; those are counted. */
export function accuracy(pairs: readonly EvalPair[], { scores }: Column): Figure {
  const decided = pairs.filter(({ tie }) => !tie);
  const counted = strict(decided.map((pair) => scoredPair(pair, scores)));
  return { ...counted, tied: pairs.length - decided.length };
}

/** Breakdowns, in the order in which they are shown. */
export const FACETS = {
  source: (pair: EvalPair) => pair.source,
  kind: (pair: EvalPair) => pair.kind,
  grade: (pair: EvalPair) => (pair.grade === undefined ? undefined : `grade ${pair.grade}`),
  'kind and grade': (pair: EvalPair) =>
    pair.kind === undefined || pair.grade === undefined ? undefined : `${pair.kind}, grade ${pair.grade}`,
};
export type Facet = keyof typeof FACETS;

/** The pairs of each value; undefined where the set does not tell, or all pairs are alike. */
export function split(pairs: readonly EvalPair[], facet: Facet): Map<string, EvalPair[]> | undefined {
  const parts = new Map<string, EvalPair[]>();
  for (const pair of pairs) {
    const value = FACETS[facet](pair);
    if (value === undefined) continue;
    const part = parts.get(value);
    if (part) part.push(pair);
    else parts.set(value, [pair]);
  }
  return parts.size > 1 ? new Map([...parts].sort(([a], [b]) => (a < b ? -1 : 1))) : undefined;
}

/** How much more often `one` is right than `other` on the same pairs, and how far that could lie elsewhere. */
export function difference(pairs: readonly EvalPair[], one: Column, other: Column): Estimate {
  const groups = new Map<string, number[]>();
  for (const pair of pairs) {
    const right = [one, other].map(({ scores }) => {
      const { chosen, rejected } = scoredPair(pair, scores);
      return chosen === undefined || rejected === undefined ? undefined : Number(chosen > rejected);
    });
    const [a, b] = right;
    if (pair.tie || a === undefined || b === undefined) continue;
    const group = groups.get(pair.group);
    if (group) group.push(a - b);
    else groups.set(pair.group, [a - b]);
  }
  return pooled([...groups.values()]);
}

/** Of a source whose pairs come from rankings: the rankings again. An image that is in no pair was tied with all. */
function rankings(pairs: readonly EvalPair[], { scores }: Column): ScoredRanking[] {
  const groups = new Map<string, Map<number, number>>();
  for (const { group, ranks, chosen, rejected } of pairs) {
    if (!ranks) continue;
    const known = groups.get(group) ?? new Map<number, number>();
    known.set(chosen, ranks[0]).set(rejected, ranks[1]);
    groups.set(group, known);
  }
  return [...groups.values()].map((items) => {
    const order = [...items.keys()].sort((a, b) => a - b); // as the list has them, for equal scores
    return {
      ranks: order.map((item) => items.get(item) as number),
      scores: order.map((item) => scored(scores[item])),
    };
  });
}

/** Pairs as Pick-a-Pic has them, ties among them; the scores as logits. */
export function choices(pairs: readonly EvalPair[], { scores, scale }: Column): ScoredChoice[] {
  const logit = (item: number) => {
    const score = scored(scores[item]);
    return score === undefined ? undefined : scale * score;
  };
  return pairs.map(({ chosen, rejected, tie, group }) => ({
    label: tie ? 0.5 : 1,
    scores: [logit(chosen), logit(rejected)],
    group,
  }));
}

const OF_RANKINGS: Partial<Record<ProtocolName, (rankings: readonly ScoredRanking[]) => Figure>> = {
  rank: rankAgreement,
  pooled: pooledRankings,
  'mean-over-prompts': meanOverPrompts,
};

/** Whether a protocol counts rankings, which pairs alone are not. */
export const needsRankings = (protocol: ProtocolName): boolean => protocol in OF_RANKINGS;

/**
 * What a source's own code counts beside strict pairs; `asked` instead, where it was asked for. `threshold` is that of
 * tie-aware counting for this column, found on other pairs.
 */
export function ownFigures(
  source: string,
  pairs: readonly EvalPair[],
  column: Column,
  { asked, threshold }: { asked?: readonly ProtocolName[] | undefined; threshold?: number | undefined } = {},
): Figure[] {
  const ranked = pairs.some(({ ranks }) => ranks) ? rankings(pairs, column) : undefined;
  return (asked ?? own(PUBLISHED_SETS, source)?.protocols ?? []).flatMap((name) => {
    if (name === 'tie-aware') return threshold === undefined ? [] : [tieAware(choices(pairs, column), threshold)];
    const count = OF_RANKINGS[name];
    return count && ranked ? [count(ranked)] : [];
  });
}
