// The embedded preferences: pairs of emoji images whose order is known by construction. Nobody was asked, and nothing
// here is called human. Of each caption there are pairs of several kinds, graded from barely visible to strong:
//
//   blur, noise, blocks, colour, erase, warp   the image, and the image corrupted (corruptions.ts)
//   caption          the caption's image, and another one's
//   sample           the image, and the base's own for the caption
//   sampler          the base's own by the recommended settings, and by worse ones
//   sample-caption   the base's own for the caption, and its own for another caption
//   own              the base's own, and another one of its own that is less like the image (likeness.ts)
//   checkpoint       the base's own, and an earlier checkpoint's
//
// The first two teach what an image is and what it shows, the others what the base gets wrong. Candidates of step-wise
// sampling are the base's own, all of one caption, so that most pairs have the base's images in them, and the `own` are
// just such a choice. Which of those two is better is known only when both are drawn.
import { pairSource } from '../prepared/pair.js';
import type { Source } from '../prepared/source.js';
import { attribution } from './attribution.js';
import { emojiImages, listEmoji, SPLIT_RULE } from './emoji.js';
import type { Likeness } from './likeness.js';
import type { Painter } from './painter.js';
import { type PrefsOptions, PrefsPlanner, SOURCE } from './prefs_planner.js';
import { PREFS_RULE, PREFS_SPLITS, prefsSplitOf, thinnedSplits } from './prefs_splits.js';

const changesOf = ({ size, models, scorer }: PrefsOptions): string[] => [
  `Drawn from SVG at ${size}x${size} pixels on white by \`drm data prepare emoji-prefs\`. Of each pair, \`chosen_model\` and`,
  '`rejected_model` say what was changed: "real" is an image as it is, "real, blur" one that was made worse on purpose;',
  `all others were drawn by ${models.map(({ name }) => name).join(', ')}. Which of two is better follows from how they were made;`,
  'no person was asked.',
  ...(scorer
    ? [
        `Of two that ${models[0]?.name} drew by the same settings, that is better which ${scorer.name} finds more like the original.`,
      ]
    : []),
];

/** Throws DrmError USAGE when there is no such split. */
export function emojiPrefsSource(options: PrefsOptions, paint: Painter, likeness?: Likeness): Source {
  const { notes, concepts } = listEmoji();
  const images = emojiImages(concepts);
  const planner = new PrefsPlanner(options, paint, likeness);
  const splits = thinnedSplits(PREFS_SPLITS, (name) => images.filter((image) => prefsSplitOf(image) === name), {
    ...options,
    each: planner.each,
  });
  const { size, seed, split, maxPairs, steps, guidance, models, scorer, dtype, t5Length } = options;
  return pairSource({
    notes,
    settings: {
      source: SOURCE,
      size,
      seed,
      split,
      ...(maxPairs !== undefined && { max_pairs: maxPairs }),
      split_rule: `${PREFS_RULE} ${SPLIT_RULE}`,
      packages: notes.map((note) => `${note.name} ${note.version}`),
      models,
      ...(scorer && { scorer }),
      steps,
      guidance,
      t5_length: t5Length,
      dtype,
    },
    total: planner.each * splits.reduce((sum, { captions }) => sum + captions.length, 0),
    pairs: () => planner.pairs(splits),
    extras: [{ name: 'ATTRIBUTION.md', text: attribution(notes, changesOf(options)) }],
  });
}
