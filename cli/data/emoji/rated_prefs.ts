// The embedded preferences by simulated raters (raters.ts): pairs of images of one caption, as sampling and reinforcement
// learning meet them, with the votes on each. What the raters' population looks for is known (population.ts).
import { pairSource } from '../prepared/pair.js';
import type { Source } from '../prepared/source.js';
import { attribution } from './attribution.js';
import { emojiImages, listEmoji, SPLIT_RULE } from './emoji.js';
import type { Painter } from './painter.js';
import { POPULATION } from './population.js';
import { PREFS_RULE, RATED_RULE, RATED_SPLITS, type RatedSplit, ratedSplitOf, thinnedSplits } from './prefs_splits.js';
import { RatedPlanner } from './rated_planner.js';
import { RATER_RULE } from './raters.js';

const SOURCE = 'emoji-raters';

/** That of HPDv3's training pairs; pairs that only measure are kept, whatever the votes. */
const MIN_CONFIDENCE = 0.95;
const LEARNED_FROM: readonly RatedSplit[] = ['train', 'judge'];

/** Of a caption. */
const OWN_IMAGES = 8;

export interface RatedPrefsOptions {
  size: number;
  seed: number;
  /** One split, or all. */
  split: string;
  /** Captions are left out, of every split as many, until about so many pairs are voted on. */
  maxPairs?: number | undefined;
  raters: number;
  ownImages?: number | undefined;
  minConfidence?: number | undefined;
  /** The base's recommended settings. */
  steps: number;
  guidance: number;
  model: { name: string; fingerprint: string };
  dtype: string;
  t5Length: number;
}

const changesOf = ({ size, model, raters }: RatedPrefsOptions): string[] => [
  `Real images were drawn from SVG at ${size}x${size} pixels on white, all others by ${model.name}. ${raters} simulated raters`,
  'voted on each pair; no person was asked.',
];

/** Throws DrmError USAGE when there is no such split. */
export function ratedPrefsSource(options: RatedPrefsOptions, paint: Painter): Source {
  const { size, seed, split, maxPairs, raters, steps, guidance, model } = options;
  const { minConfidence = MIN_CONFIDENCE, ownImages = OWN_IMAGES } = options;
  const { notes, concepts } = listEmoji();
  const confidenceOf = (name: string) => (LEARNED_FROM.some((one) => one === name) ? minConfidence : 0);
  const planner = new RatedPlanner(
    { size, seed, raters, ownImages, minConfidence: confidenceOf, steps, guidance, base: model.name },
    paint,
    SOURCE,
  );
  const images = emojiImages(concepts);
  const splits = thinnedSplits(RATED_SPLITS, (name) => images.filter((image) => ratedSplitOf(image) === name), {
    ...options,
    each: planner.each,
  });
  return pairSource({
    notes,
    settings: {
      source: SOURCE,
      ...{ size, seed, split, raters, own_images: ownImages, min_confidence: minConfidence },
      ...(maxPairs !== undefined && { max_pairs: maxPairs }),
      split_rule: `${PREFS_RULE} ${SPLIT_RULE} ${RATED_RULE}`,
      rater_rule: RATER_RULE,
      population: POPULATION,
      packages: notes.map((note) => `${note.name} ${note.version}`),
      ...{ models: [model], steps, guidance, t5_length: options.t5Length, dtype: options.dtype },
    },
    total: planner.each * splits.reduce((sum, { captions }) => sum + captions.length, 0),
    pairs: () => planner.pairs(splits),
    extras: [{ name: 'ATTRIBUTION.md', text: attribution(notes, changesOf(options)) }],
  });
}
