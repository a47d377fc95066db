// The splits of the embedded preferences: what was seen by the base, and what a reward model sees.
import { type EmojiPicture, hash, isHeldOut } from './emoji.js';

/**
 * Training; concepts that it does not see, of those that the base knows; concepts that the base was not trained on either;
 * concepts in a style that the base was not trained on. Where the base does not know a concept, its own images show
 * something else, and of two of them none may be better.
 */
export const PREFS_SPLITS = ['train', 'test', 'test-base', 'test-style'] as const;
export type PrefsSplit = (typeof PREFS_SPLITS)[number];

export const PREFS_RULE =
  'That of the emoji set, whose test is test-base here; of its train, families with h("pref:" + family) mod 10 = 0 are test.';

export function prefsSplitOf({ split, family }: Pick<EmojiPicture, 'split' | 'family'>): PrefsSplit {
  if (split === 'test') return 'test-base';
  return split === 'train' && isHeldOut(family) ? 'test' : split;
}

/** Likewise of what simulated raters vote on; the preference judge learns from captions of its own, by raters of its own. */
export const RATED_SPLITS = ['train', 'judge', 'test', 'test-base', 'test-style'] as const;
export type RatedSplit = (typeof RATED_SPLITS)[number];

export const RATED_RULE = 'Of its train, families with h("judge:" + family) mod 4 = 0 are judge.';

export function ratedSplitOf(picture: Pick<EmojiPicture, 'split' | 'family'>): RatedSplit {
  const split = prefsSplitOf(picture);
  return split === 'train' && hash(`judge:${picture.family}`) % 4 === 0 ? 'judge' : split;
}
