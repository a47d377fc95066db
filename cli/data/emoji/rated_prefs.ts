// The embedded preferences by simulated raters (raters.ts): pairs of images of one caption, as sampling and reinforcement
// learning meet them, with the votes on each. What the raters' population looks for is known (population.ts).
import { DrmError } from '../../../binding/error.js';
import { epochOrder } from '../../random/order.js';
import type { SourceNote } from '../prepared/manifest.js';
import { pairSource } from '../prepared/pair.js';
import type { Source } from '../prepared/source.js';
import { type EmojiPicture, emojiPictures, listEmoji, SPLIT_RULE } from './emoji.js';
import type { Painter } from './painter.js';
import { POPULATION } from './population.js';
import { PREFS_RULE, RATED_RULE, RATED_SPLITS, type RatedSplit, ratedSplitOf } from './prefs_splits.js';
import { RatedPlanner } from './rated_planner.js';
import { RATER_RULE } from './raters.js';

const SOURCE = 'emoji-raters';

/** That of HPDv3's training pairs; pairs that only measure are kept, whatever the votes. */
const MIN_CONFIDENCE = 0.95;
const LEARNED_FROM: readonly RatedSplit[] = ['train', 'judge'];

export interface RatedPrefsOptions {
  size: number;
  seed: number;
  /** One split, or all. */
  split: string;
  /** Captions are left out, of every split as many, until about so many pairs are voted on. */
  maxPairs?: number | undefined;
  raters: number;
  minConfidence?: number | undefined;
  /** The base's recommended settings. */
  steps: number;
  guidance: number;
  model: { name: string; fingerprint: string };
  dtype: string;
  t5Length: number;
}

const attribution = (notes: readonly SourceNote[], { size, model, raters }: RatedPrefsOptions): string =>
  [
    '# Sources and licences of these images',
    '',
    `Real images were drawn from SVG at ${size}x${size} pixels on white, all others by ${model.name}. ${raters} simulated raters`,
    'voted on each pair; no person was asked.',
    '',
    ...notes.map(
      (note) =>
        `- ${note.name} ${note.version}: by ${note.author} (${note.url}), licence ${note.licence} (${note.licence_url})`,
    ),
    '',
  ].join('\n');

/** Throws DrmError USAGE when there is no such split. */
export function ratedPrefsSource(options: RatedPrefsOptions, paint: Painter): Source {
  const { size, seed, split, maxPairs, raters, minConfidence = MIN_CONFIDENCE, steps, guidance, model } = options;
  const { notes, concepts } = listEmoji();
  const wanted = RATED_SPLITS.filter((name) => split === 'all' || split === name);
  if (wanted.length === 0)
    throw new DrmError('USAGE', `--split ${split}: expected ${['all', ...RATED_SPLITS].join(', ')}`);
  const confidenceOf = (name: string) => (LEARNED_FROM.some((one) => one === name) ? minConfidence : 0);
  const planner = new RatedPlanner(
    { size, seed, raters, minConfidence: confidenceOf, steps, guidance, base: model.name },
    paint,
    SOURCE,
  );
  const pictures = emojiPictures(concepts);
  const sets = wanted.map((name) => ({ name, all: pictures.filter((picture) => ratedSplitOf(picture) === name) }));
  const most = planner.each * sets.reduce((sum, { all }) => sum + all.length, 0);
  const share = Math.min(1, (maxPairs ?? most) / most);
  const splits = sets.map(({ name, all }) => {
    const order = epochOrder(seed, RATED_SPLITS.indexOf(name), all.length);
    const captions = [...order.subarray(0, Math.max(1, Math.floor(all.length * share)))];
    return { name, captions: captions.map((at) => all[at] as EmojiPicture) };
  });
  return pairSource({
    notes,
    settings: {
      source: SOURCE,
      ...{ size, seed, split, raters, min_confidence: minConfidence },
      ...(maxPairs !== undefined && { max_pairs: maxPairs }),
      split_rule: `${PREFS_RULE} ${SPLIT_RULE} ${RATED_RULE}`,
      rater_rule: RATER_RULE,
      population: POPULATION,
      packages: notes.map((note) => `${note.name} ${note.version}`),
      ...{ models: [model], steps, guidance, t5_length: options.t5Length, dtype: options.dtype },
    },
    total: planner.each * splits.reduce((sum, { captions }) => sum + captions.length, 0),
    pairs: () => planner.pairs(splits),
    extras: [{ name: 'ATTRIBUTION.md', text: attribution(notes, options) }],
  });
}
