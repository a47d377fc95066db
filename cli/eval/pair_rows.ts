// What `drm eval pairs` found: a row for each reward and noise level, for each set of pairs.

import type { ProtocolName } from '../data/sets/published.js';
import type { Level } from '../rewards/levels.js';
import type { Estimate } from './bootstrap.js';
import { accuracy, type Column, choices, difference, FACETS, type Facet, ownFigures, split } from './pair_accuracy.js';
import type { EvalPair } from './pair_scores.js';
import { bestThreshold, type Figure } from './protocols.js';
import type { ViewingProtocol } from './viewing.js';

/** What is said of one reward at one noise level. */
export interface Row extends Level {
  reward: string;
  /** How its images were looked at, where that has a name. */
  protocol?: ViewingProtocol;
  /** How its scores came about, in words. */
  viewing: string;
  overall: Figure;
  /** More often right than the first reward at this timestep, on the same pairs; a share. */
  ahead_of_first?: Estimate;
  by: Partial<Record<Facet, Record<string, Figure>>>;
  /** By source, by the source's own protocol. */
  own: Record<string, Figure[]>;
}

/** Of one set of pairs. */
export interface SetResults {
  /** Its folder. */
  data: string;
  pairs: number;
  images: number;
  bad_images: number;
  rows: Row[];
}

export interface ScoredColumn extends Column {
  viewing: string;
  /** The scores of the validation pairs, where ties are predicted. */
  validation?: Column;
}

export interface Counting {
  /** Instead of the sets' own. */
  asked?: readonly ProtocolName[] | undefined;
  viewing?: ViewingProtocol | undefined;
  /** Pairs that tie-aware counting takes its threshold from. */
  validation?: readonly EvalPair[] | undefined;
}

export function rowsOf(
  pairs: readonly EvalPair[],
  columns: readonly ScoredColumn[],
  { asked, viewing, validation }: Counting,
): Row[] {
  const sources = split(pairs, 'source') ?? new Map([[pairs[0]?.source ?? '', [...pairs]]]);
  const facets = (Object.keys(FACETS) as Facet[]).map((facet) => ({ facet, parts: split(pairs, facet) }));
  const [first] = columns;
  return columns.map((column): Row => {
    const base = columns.find(
      ({ reward, level }) => reward === first?.reward && level.timestep === column.level.timestep,
    );
    const by: Row['by'] = {};
    for (const { facet, parts } of facets)
      if (parts) by[facet] = Object.fromEntries([...parts].map(([part, some]) => [part, accuracy(some, column)]));
    const threshold = validation && column.validation && bestThreshold(choices(validation, column.validation));
    const own = [...sources].map(
      ([source, some]) => [source, ownFigures(source, some, column, { asked, threshold })] as const,
    );
    return {
      reward: column.reward,
      ...column.level,
      ...(viewing && { protocol: viewing }),
      viewing: column.viewing,
      overall: accuracy(pairs, column),
      ...(base && base.reward !== column.reward && { ahead_of_first: difference(pairs, column, base) }),
      by,
      own: Object.fromEntries(own.filter(([, figures]) => figures.length > 0)),
    };
  });
}

/** The figure that stands for a set among several: its own protocol's, or strict where it holds several sources. */
export const mainFigure = ({ overall, own, by }: Row): Figure => (!by.source && Object.values(own)[0]?.[0]) || overall;
