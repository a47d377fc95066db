// The splits of the embedded preferences: what was seen by the base, and what a reward model sees.
import { type EmojiPicture, isHeldOut } from './emoji.js';

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
