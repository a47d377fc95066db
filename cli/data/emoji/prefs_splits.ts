// The splits of the embedded preferences: what was seen by the base, and what a reward model sees.
import { DrmError } from '../../../binding/error.js';
import { epochOrder } from '../../random/order.js';
import { type EmojiImage, hash, isHeldOut } from './emoji.js';

/**
 * Training; concepts that it does not see, of those that the base knows; concepts that the base was not trained on either;
 * concepts in a style that the base was not trained on. Where the base does not know a concept, its own images show
 * something else, and of two of them none may be better.
 */
export const PREFS_SPLITS = ['train', 'test', 'test-base', 'test-style'] as const;
export type PrefsSplit = (typeof PREFS_SPLITS)[number];

export const PREFS_RULE =
  'That of the emoji set, whose test is test-base here; of its train, families with h("pref:" + family) mod 10 = 0 are test.';

export function prefsSplitOf({ split, family }: Pick<EmojiImage, 'split' | 'family'>): PrefsSplit {
  if (split === 'test') return 'test-base';
  return split === 'train' && isHeldOut(family) ? 'test' : split;
}

/** Likewise of what simulated raters vote on; the preference judge learns from captions of its own, by raters of its own. */
export const RATED_SPLITS = ['train', 'judge', 'test', 'test-base', 'test-style'] as const;
export type RatedSplit = (typeof RATED_SPLITS)[number];

export const RATED_RULE = 'Of its train, families with h("judge:" + family) mod 4 = 0 are judge.';

export function ratedSplitOf(image: Pick<EmojiImage, 'split' | 'family'>): RatedSplit {
  const split = prefsSplitOf(image);
  return split === 'train' && hash(`judge:${image.family}`) % 4 === 0 ? 'judge' : split;
}

export interface Thinning {
  /** One split, or all. */
  split: string;
  seed: number;
  /** Pairs of a caption, and about so many in all: captions are left out, of every split as many. */
  each: number;
  maxPairs?: number | undefined;
}

export interface ThinnedSplit<Name extends string> {
  name: Name;
  /** The chosen captions, in an order of their own, so that the first of them are a fair share of all. */
  captions: EmojiImage[];
  all: EmojiImage[];
}

/** Throws DrmError USAGE when there is no such split. */
export function thinnedSplits<Name extends string>(
  names: readonly Name[],
  imagesOf: (name: Name) => EmojiImage[],
  { split, seed, each, maxPairs }: Thinning,
): ThinnedSplit<Name>[] {
  const wanted = names.filter((name) => split === 'all' || split === name);
  if (wanted.length === 0) throw new DrmError('USAGE', `--split ${split}: expected ${['all', ...names].join(', ')}`);
  const sets = wanted.map((name) => ({ name, all: imagesOf(name) }));
  const most = each * sets.reduce((sum, { all }) => sum + all.length, 0);
  const share = Math.min(1, (maxPairs ?? most) / most);
  return sets.map(({ name, all }) => {
    const order = epochOrder(seed, names.indexOf(name), all.length);
    const count = Math.max(1, Math.floor(all.length * share));
    return { name, captions: [...order.subarray(0, count)].map((at) => all[at] as EmojiImage), all };
  });
}
