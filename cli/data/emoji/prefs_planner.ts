// Which pairs a caption has: kinds, grades, and the draws that choose among them (emoji_prefs.ts has the list of kinds).
import { PhiloxStream } from '../../random/philox_stream.js';
import { Drop } from '../io/drop.js';
import { decodeImage, encodeLossless } from '../io/image.js';
import type { LatePair, Pair, PairImage } from '../prepared/pair.js';
import { BaseImages, type DrawnImage, realImage } from './base_images.js';
import { wrongOne } from './caption_distance.js';
import { CORRUPTIONS, type Corruption, corrupt, GRADES, type Grade } from './corruptions.js';
import { drawEmoji, type EmojiImage, hash } from './emoji.js';
import { gradeOfGap, type Likeness } from './likeness.js';
import type { Painter, Recipe } from './painter.js';
import { recipeName, worseRecipe } from './prefs_recipes.js';
import { prefsSplitOf } from './prefs_splits.js';

export const SOURCE = 'emoji-prefs';
/** Keeps this use of the seed apart from all others ("pref"). */
const PURPOSE = 0x70726566;

/** Captions whose images the base draws in one go; its image of another caption is one of these. */
const CHUNK = 64;

/** The base's own images of a caption by the recommended settings, those that only `own` pairs show included. */
const SEEDS = 4;

/** Pairs of a caption. */
const CORRUPTED = 2;
const WRONG = 2;
const SAMPLED = 2;
const OWN = (SEEDS * (SEEDS - 1)) / 2;

export interface PrefsOptions {
  size: number;
  seed: number;
  /** One split, or all. */
  split: string;
  /** Captions are left out, of every split as many, until there are about so many pairs. */
  maxPairs?: number | undefined;
  /** The base's recommended settings; what is worse is measured from them. */
  steps: number;
  guidance: number;
  /** As in the manifest; the base first, then its earlier checkpoints, the latest first. */
  models: { name: string; fingerprint: string }[];
  /** What orders the `own` pairs, as in the manifest; without it there are none. */
  scorer?: { name: string; fingerprint: string } | undefined;
  dtype: string;
  t5Length: number;
}

export class PrefsPlanner {
  readonly #names: string[];
  readonly #best: Recipe;

  constructor(
    private readonly options: PrefsOptions,
    private readonly paint: Painter,
    private readonly likeness: Likeness | undefined,
  ) {
    this.#names = options.models.map(({ name }) => name);
    this.#best = { model: 0, steps: options.steps, guidance: options.guidance, noise: 0 };
  }

  /** Pairs of a caption, dropped ones included. */
  get each(): number {
    return CORRUPTED + WRONG + 2 * SAMPLED + 2 + (this.likeness ? OWN : 0) + (this.#names.length - 1);
  }

  /** Captions in an order of their own, so that the first of them are a fair share of all. */
  *pairs(splits: readonly { captions: EmojiImage[]; all: EmojiImage[] }[]): Generator<Pair | LatePair | Drop> {
    for (const { captions, all } of splits)
      for (let at = 0; at < captions.length; at += CHUNK) yield* this.#chunk(captions.slice(at, at + CHUNK), all);
  }

  #chunk(captions: EmojiImage[], all: EmojiImage[]): (Pair | LatePair | Drop)[] {
    const chunk = new BaseImages(this.paint, this.#names);
    // The base's own of each caption come first, since captions share them.
    const own = captions.map((emoji) => {
      const draws = this.#draws(emoji, 0);
      return Array.from({ length: this.likeness ? SEEDS : SAMPLED }, () => {
        const wish = { ...this.#best, prompt: emoji.caption, seed: draws.word() };
        return { wish, image: chunk.wish(wish) };
      });
    });
    return captions.flatMap((emoji, i) => {
      const draws = this.#draws(emoji, 1);
      const real = realImage(emoji, this.options.size);
      const mine = own[i] as (typeof own)[number];
      const [{ wish, image: first }] = mine as [(typeof mine)[number]];
      const best = this.#nameOf(wish);
      const pairOf = (
        kind: string,
        grade: Grade,
        chosen: PairImage,
        rejected: PairImage,
        made: [string, string],
      ): Pair => {
        const fields = {
          prompt: emoji.caption,
          source: SOURCE,
          chosen_model: made[0],
          rejected_model: made[1],
          kind,
          grade,
        };
        return { split: prefsSplitOf(emoji), note: emoji.note, fields, chosen, rejected };
      };
      const pairs: (Pair | LatePair | Drop)[] = [];
      const add = (...pair: Parameters<typeof pairOf>) => pairs.push(pairOf(...pair));
      const addWrong = (
        kind: string,
        from: EmojiImage[],
        wanted: Grade,
        put: (other: EmojiImage, grade: Grade) => void,
      ) => {
        const wrong = wrongOne(emoji, from, wanted, draws);
        if (wrong) put(wrong.image, wrong.grade);
        else pairs.push(new Drop('no_other_caption', `${emoji.key}: ${kind}`));
      };

      const kinds = [...CORRUPTIONS];
      for (let n = 0; n < CORRUPTED; n++) {
        const [kind] = kinds.splice(draws.below(kinds.length), 1) as [Corruption];
        const grade = draws.pick(GRADES);
        add(kind, grade, real, this.#corrupted(emoji, kind, grade, 2 + n), ['real', `real, ${kind}`]);
      }
      const grades = [...GRADES];
      for (let n = 0; n < WRONG; n++) {
        const [wanted] = grades.splice(draws.below(grades.length), 1) as [Grade];
        addWrong('caption', all, wanted, (other, grade) => {
          add('caption', grade, real, realImage(other, this.options.size), ['real', 'real, of another caption']);
        });
      }

      const sampled = mine.slice(0, SAMPLED);
      for (const { image } of sampled) add('sample', 1, real, image, ['real', best]);
      const grade = draws.pick(GRADES);
      const worse = {
        ...worseRecipe(this.#best, grade, draws.below(3) === 0),
        prompt: emoji.caption,
        seed: draws.below(2) === 0 ? wish.seed : draws.word(), // from the same noise, or from other
      };
      const badly = chunk.wish(worse);
      add('sampler', grade, first, badly, [best, this.#nameOf(worse)]);
      add('sample', Math.min(5, grade + 1) as Grade, real, badly, ['real', this.#nameOf(worse)]);
      for (const { image } of sampled)
        addWrong('sample-caption', captions, draws.pick(GRADES), (other, grade) => {
          const theirs = draws.pick((own[captions.indexOf(other)] as typeof mine).slice(0, SAMPLED));
          add('sample-caption', grade, image, theirs.image, [best, `${best}, of another caption`]);
        });
      if (this.likeness)
        pairs.push(
          ...this.#ownPairs(
            emoji,
            mine.map(({ image }) => image),
            (...pair) => pairOf('own', ...pair, [best, best]),
          ),
        );
      for (let model = 1; model < this.#names.length; model++) {
        const early = { ...wish, model };
        add('checkpoint', Math.min(5, model) as Grade, first, chunk.wish(early), [best, this.#nameOf(early)]);
      }
      return pairs;
    });
  }

  /** Every two of the caption's own images, the one more like the real one first. */
  #ownPairs(
    emoji: EmojiImage,
    mine: DrawnImage[],
    pairOf: (grade: Grade, chosen: PairImage, rejected: PairImage) => Pair,
  ): LatePair[] {
    let measured: Promise<number[]> | undefined;
    const measure = async () => {
      const real = await realImage(emoji, this.options.size).pixels();
      return (this.likeness as Likeness)(await Promise.all(mine.map((one) => one.pixels())), real, emoji.caption);
    };
    return mine.flatMap((one, i) =>
      mine.slice(0, i).map((other, j) => ({
        split: prefsSplitOf(emoji),
        note: emoji.note,
        decide: async () => {
          measured ??= measure();
          const likeness = await measured;
          const gap = (likeness[i] as number) - (likeness[j] as number);
          if (gap === 0) return new Drop('no_difference', `${one.id} and ${other.id}`);
          const [chosen, rejected] = gap > 0 ? [one, other] : [other, one];
          return pairOf(gradeOfGap(Math.abs(gap)), chosen, rejected);
        },
      })),
    );
  }

  #draws(emoji: EmojiImage, within: number): PhiloxStream {
    return new PhiloxStream(this.options.seed, PURPOSE, hash(emoji.key), within);
  }

  #corrupted(emoji: EmojiImage, kind: Corruption, grade: Grade, within: number): PairImage {
    const read = async () => {
      const clean = await decodeImage(await drawEmoji(emoji, this.options.size));
      return clean instanceof Drop
        ? clean
        : encodeLossless(await corrupt(clean, kind, grade, this.#draws(emoji, within)));
    };
    return { id: `${emoji.key} / ${kind} ${grade}`, read };
  }

  #nameOf(recipe: Recipe): string {
    return recipeName(recipe, this.#names);
  }
}
