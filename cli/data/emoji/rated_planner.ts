// Which pairs raters are asked about: images of one caption that the base drew by the settings that sampling and
// reinforcement learning use, with and without noise at each step, a retouched copy of each, some by worse settings, and
// the real image.

import type { Image } from '../../image/write.js';
import { PhiloxStream } from '../../random/philox_stream.js';
import { Drop } from '../io/drop.js';
import { encodeLossless } from '../io/image.js';
import type { LatePair, PairFields } from '../prepared/pair.js';
import { BaseImages, type DrawnImage, realImage } from './base_images.js';
import { GRADES } from './corruptions.js';
import { type EmojiImage, hash } from './emoji.js';
import type { Painter, Recipe } from './painter.js';
import { standardized } from './population.js';
import { recipeName, worseRecipe } from './prefs_recipes.js';
import { RATED_SPLITS, type RatedSplit } from './prefs_splits.js';
import { drawRaters, type Rater, votesOf } from './raters.js';
import { retouch } from './retouch.js';

/** Keep these uses of the seed apart from all others ("rpai", "rtch"). */
const PURPOSE = 0x72706169;
const RETOUCHING = 0x72746368;

/** Captions whose images the base draws in one go. */
const CHUNK = 16;

/** Of a caption's own images: drawn by the SDE (Eq. 6), the others by the ODE. */
const NOISY = 0.75;

/** Images of a caption by worse settings of either, for each of the own ones. */
const WORSE = 1 / 8;

/** Of the noise of the SDE, as `drm sample --k` and `drm grpo` have it. */
const NOISE_LEVEL = 0.7;

/** Pairs of a caption: every two of the base's own images by the recommended settings and of their copies, one of the own and
 * one by worse settings, one of the own and the real image. Votes cost nothing beside images, and an image that is in many
 * pairs is hard to learn by heart. */
const REAL = 2;

export interface RatedOptions {
  size: number;
  seed: number;
  raters: number;
  /** Of a caption, two at least. */
  ownImages: number;
  /** Of a split: pairs of less confidence are dropped. */
  minConfidence(split: string): number;
  steps: number;
  guidance: number;
  base: string;
}

/** A split and who votes on it. */
interface Asked {
  name: RatedSplit;
  raters: Rater[];
}

interface Candidate {
  id: string;
  model: string;
  image: DrawnImage;
}

export class RatedPlanner {
  /** Pairs of a caption. */
  readonly each: number;
  readonly #best: Recipe;
  readonly #worse: number;

  constructor(
    private readonly options: RatedOptions,
    private readonly paint: Painter,
    private readonly source: string,
  ) {
    const { ownImages: own } = options;
    this.#worse = Math.ceil(own * WORSE);
    this.each = own * (2 * own - 1) + this.#worse + REAL;
    this.#best = { model: 0, steps: options.steps, guidance: options.guidance, noise: 0 };
  }

  *pairs(splits: readonly { name: RatedSplit; captions: EmojiImage[] }[]): Generator<LatePair> {
    for (const { name, captions } of splits) {
      const raters = drawRaters(this.options.seed, this.options.raters, RATED_SPLITS.indexOf(name));
      for (let at = 0; at < captions.length; at += CHUNK)
        yield* this.#chunk({ name, raters }, captions.slice(at, at + CHUNK));
    }
  }

  #chunk(split: Asked, captions: EmojiImage[]): LatePair[] {
    const chunk = new BaseImages(this.paint, [this.options.base]);
    // All are wished for before the first is drawn.
    return captions.flatMap((emoji) => this.#ofCaption(split, emoji, chunk));
  }

  #ofCaption({ name: split, raters }: Asked, emoji: EmojiImage, chunk: BaseImages): LatePair[] {
    const draws = new PhiloxStream(this.options.seed, PURPOSE, hash(emoji.key));
    const wish = (recipe: Recipe): Candidate => {
      const image = chunk.wish({ ...recipe, prompt: emoji.caption, seed: draws.word() });
      return { id: image.id, model: recipeName(recipe, [this.options.base]), image };
    };
    const { ownImages } = this.options;
    const own = Array.from({ length: ownImages }, (_, i) =>
      wish(i < NOISY * ownImages ? { ...this.#best, noise: NOISE_LEVEL } : this.#best),
    );
    const copies = own.map((one, i) => this.#copy(emoji, one, i));
    const worse = Array.from({ length: this.#worse }, () =>
      wish({
        ...worseRecipe(this.#best, draws.pick(GRADES), draws.below(3) === 0),
        noise: draws.below(2) === 0 ? NOISE_LEVEL : 0,
      }),
    );
    const image = realImage(emoji, this.options.size);
    const real: Candidate = { id: image.id, model: 'real', image };
    const seen = new Map<Candidate, Promise<ReturnType<typeof standardized>>>();
    const look = (one: Candidate) => {
      const known = seen.get(one) ?? one.image.pixels().then(standardized);
      seen.set(one, known);
      return known;
    };
    const asked = (kind: string, first: Candidate, second: Candidate, within: number): LatePair => ({
      split,
      note: emoji.note,
      decide: async () => {
        const voting = new PhiloxStream(this.options.seed, PURPOSE, hash(emoji.key), 1 + within);
        const votes = votesOf(raters, await look(first), await look(second), voting);
        const [chosen, rejected] = votes[0] > votes[1] ? [first, second] : [second, first];
        const sorted = [Math.max(...votes), Math.min(...votes)] as [number, number];
        const confidence = sorted[0] / raters.length;
        const where = `${first.id} and ${second.id}`;
        if (sorted[0] === sorted[1]) return new Drop('tie', where);
        if (confidence < this.options.minConfidence(split))
          return new Drop('low_confidence', `${where}: ${confidence}`);
        const fields: PairFields = {
          ...{ prompt: emoji.caption, source: this.source, confidence, votes: sorted, kind },
          ...{ chosen_model: chosen.model, rejected_model: rejected.model },
        };
        return { split, note: emoji.note, fields, chosen: chosen.image, rejected: rejected.image };
      },
    });
    const pairs = [...everyTwo([...own, ...copies])].map(([first, second]): [string, Candidate, Candidate] => [
      copies.includes(first) || copies.includes(second) ? 'retouched' : 'own',
      first,
      second,
    ]);
    for (const one of worse) pairs.push(['worse', draws.pick(own), one]);
    for (let i = 0; i < REAL; i++) pairs.push(['real', real, draws.pick(own)]);
    return pairs.map(([kind, first, second], i) => asked(kind, first, second, i));
  }

  #copy(emoji: EmojiImage, { id, model, image }: Candidate, index: number): Candidate {
    const copy = async () =>
      retouch(await image.pixels(), new PhiloxStream(this.options.seed, RETOUCHING, hash(emoji.key), index));
    let made: Promise<Image> | undefined;
    const pixels = () => (made ??= copy());
    const named = `${id}, retouched`;
    const read = async () => encodeLossless(await pixels());
    return { id: named, model: `${model}, retouched`, image: { id: named, pixels, read } };
  }
}

function* everyTwo<T>(of: readonly T[]): Generator<[T, T]> {
  for (const [i, one] of of.entries()) for (const other of of.slice(0, i)) yield [one, other];
}
