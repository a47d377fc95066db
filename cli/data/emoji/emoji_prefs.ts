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
import { DrmError } from '../../../binding/error.js';
import type { Picture } from '../../image/write.js';
import { epochOrder } from '../../random/order.js';
import { PhiloxStream } from '../../random/philox_stream.js';
import { Drop } from '../io/drop.js';
import { decodePicture, encodeLossless } from '../io/picture.js';
import type { SourceNote } from '../prepared/manifest.js';
import { type LatePair, type Pair, type PairPicture, pairSource } from '../prepared/pair.js';
import type { Source } from '../prepared/source.js';
import { CORRUPTIONS, type Corruption, corrupt, GRADES, type Grade } from './corruptions.js';
import { drawEmoji, type EmojiPicture, emojiPictures, hash, isHeldOut, listEmoji, SPLIT_RULE } from './emoji.js';
import { gradeOfGap, type Likeness } from './likeness.js';
import type { Painter, Recipe, Wish } from './painter.js';

const SOURCE = 'emoji-prefs';
/** Keeps this use of the seed apart from all others ("pref"). */
const PURPOSE = 0x70726566;

/**
 * Training; concepts that it does not see, of those that the base knows; concepts that the base was not trained on either;
 * concepts in a style that the base was not trained on. Where the base does not know a concept, its own images show
 * something else, and of two of them none may be better.
 */
export const PREFS_SPLITS = ['train', 'test', 'test-base', 'test-style'] as const;
type PrefsSplit = (typeof PREFS_SPLITS)[number];

const PREFS_RULE =
  'That of the emoji set, whose test is test-base here; of its train, families with h("pref:" + family) mod 10 = 0 are test.';

export function prefsSplitOf({ split, family }: Pick<EmojiPicture, 'split' | 'family'>): PrefsSplit {
  if (split === 'test') return 'test-base';
  return split === 'train' && isHeldOut(family) ? 'test' : split;
}

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

/**
 * Worse than the recommended settings: fewer steps, with less guidance or with too much of it. At 1 the two are close, at 5
 * there are two steps.
 */
export function worseRecipe(best: Recipe, grade: Grade, much: boolean): Recipe {
  const part = [0.5, 0.35, 0.25, 0.15, 0.07][grade - 1] as number;
  const less = [0.5, 0.25, 0, 0, 0][grade - 1] as number;
  const more = [2, 2.7, 3.5, 5, 7][grade - 1] as number;
  return {
    model: best.model,
    steps: Math.max(1, Math.round(best.steps * part)),
    guidance: much ? best.guidance * more : 1 + (best.guidance - 1) * less,
  };
}

const known = new Map<string, string[]>();
function wordsOf(concept: string): string[] {
  const words = known.get(concept) ?? concept.split(' ').filter((word) => word.length > 3);
  known.set(concept, words);
  return words;
}

/** How far another image is from a caption: 1 is only the style, 5 is another style and another kind of thing. */
export function distance(a: EmojiPicture, b: EmojiPicture): Grade | undefined {
  const sameStyle = a.style === b.style;
  if (a.concept === b.concept) return sameStyle ? undefined : 1;
  // Variants of one thing may look alike, and no order is known.
  if (a.family === b.family) return undefined;
  if (!sameStyle) return a.category === b.category ? undefined : 5;
  if (a.category !== b.category) return 4;
  const words = wordsOf(a.concept);
  return wordsOf(b.concept).some((word) => words.includes(word)) ? 2 : 3;
}

/** One of the images at this distance, or at the nearest one that there is. */
function wrongOne(of: EmojiPicture, from: EmojiPicture[], grade: Grade, draws: PhiloxStream) {
  const far = from.map((other) => distance(of, other));
  const byNearness = [...GRADES].sort((a, b) => Math.abs(a - grade) - Math.abs(b - grade));
  for (const wanted of byNearness) {
    const found = far.flatMap((grade, i) => (grade === wanted ? [i] : []));
    if (found.length > 0) return { picture: from[draws.pick(found)] as EmojiPicture, grade: wanted };
  }
  return undefined;
}

const recipeName = ({ model, steps, guidance }: Recipe, names: readonly string[]): string =>
  `${names[model]}, ${steps} steps, guidance ${guidance}`;

interface DrawnPicture extends PairPicture {
  pixels(): Promise<Picture>;
}

/** Images of the base, painted together when the first of them is wanted. */
class Chunk {
  readonly #wishes = new Map<string, Wish>();
  #painted: Promise<Map<string, Picture>> | undefined;

  constructor(
    private readonly paint: Painter,
    private readonly names: readonly string[],
  ) {}

  /** All must be wished for before the first is read. */
  wish(wish: Wish): DrawnPicture {
    const id = `${wish.prompt} / ${recipeName(wish, this.names)}, seed ${wish.seed}`;
    this.#wishes.set(id, wish);
    const pixels = async () => (await this.#all()).get(id) as Picture;
    return { id, pixels, read: async () => encodeLossless(await pixels()) };
  }

  #all(): Promise<Map<string, Picture>> {
    this.#painted ??= this.paint([...this.#wishes.values()]).then(
      (pictures) => new Map([...this.#wishes.keys()].map((id, i) => [id, pictures[i] as Picture])),
    );
    return this.#painted;
  }
}

class Planner {
  readonly #names: string[];
  readonly #best: Recipe;

  constructor(
    private readonly options: PrefsOptions,
    private readonly paint: Painter,
    private readonly likeness: Likeness | undefined,
  ) {
    this.#names = options.models.map(({ name }) => name);
    this.#best = { model: 0, steps: options.steps, guidance: options.guidance };
  }

  /** Pairs of a caption, dropped ones included. */
  get each(): number {
    return CORRUPTED + WRONG + 2 * SAMPLED + 2 + (this.likeness ? OWN : 0) + (this.#names.length - 1);
  }

  /** Captions in an order of their own, so that the first of them are a fair share of all. */
  *pairs(splits: readonly { captions: EmojiPicture[]; all: EmojiPicture[] }[]): Generator<Pair | LatePair | Drop> {
    for (const { captions, all } of splits)
      for (let at = 0; at < captions.length; at += CHUNK) yield* this.#chunk(captions.slice(at, at + CHUNK), all);
  }

  #chunk(captions: EmojiPicture[], all: EmojiPicture[]): (Pair | LatePair | Drop)[] {
    const chunk = new Chunk(this.paint, this.#names);
    // The base's own of each caption come first, since captions share them.
    const own = captions.map((emoji) => {
      const draws = this.#draws(emoji, 0);
      return Array.from({ length: this.likeness ? SEEDS : SAMPLED }, () => {
        const wish = { ...this.#best, prompt: emoji.caption, seed: draws.word() };
        return { wish, picture: chunk.wish(wish) };
      });
    });
    return captions.flatMap((emoji, i) => {
      const draws = this.#draws(emoji, 1);
      const real = { id: emoji.key, read: () => drawEmoji(emoji, this.options.size) };
      const mine = own[i] as (typeof own)[number];
      const [{ wish, picture: first }] = mine as [(typeof mine)[number]];
      const best = this.#nameOf(wish);
      const pairOf = (
        kind: string,
        grade: Grade,
        chosen: PairPicture,
        rejected: PairPicture,
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
        from: EmojiPicture[],
        wanted: Grade,
        put: (other: EmojiPicture, grade: Grade) => void,
      ) => {
        const wrong = wrongOne(emoji, from, wanted, draws);
        if (wrong) put(wrong.picture, wrong.grade);
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
          const picture = { id: other.key, read: () => drawEmoji(other, this.options.size) };
          add('caption', grade, real, picture, ['real', 'real, of another caption']);
        });
      }

      const sampled = mine.slice(0, SAMPLED);
      for (const { picture } of sampled) add('sample', 1, real, picture, ['real', best]);
      const grade = draws.pick(GRADES);
      const worse = {
        ...worseRecipe(this.#best, grade, draws.below(3) === 0),
        prompt: emoji.caption,
        seed: draws.below(2) === 0 ? wish.seed : draws.word(), // from the same noise, or from other
      };
      const badly = chunk.wish(worse);
      add('sampler', grade, first, badly, [best, this.#nameOf(worse)]);
      add('sample', Math.min(5, grade + 1) as Grade, real, badly, ['real', this.#nameOf(worse)]);
      for (const { picture } of sampled)
        addWrong('sample-caption', captions, draws.pick(GRADES), (other, grade) => {
          const theirs = draws.pick((own[captions.indexOf(other)] as typeof mine).slice(0, SAMPLED));
          add('sample-caption', grade, picture, theirs.picture, [best, `${best}, of another caption`]);
        });
      if (this.likeness)
        pairs.push(
          ...this.#ownPairs(
            emoji,
            mine.map(({ picture }) => picture),
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
    emoji: EmojiPicture,
    mine: DrawnPicture[],
    pairOf: (grade: Grade, chosen: PairPicture, rejected: PairPicture) => Pair,
  ): LatePair[] {
    let measured: Promise<number[]> | undefined;
    const measure = async () => {
      const real = await decodePicture(await drawEmoji(emoji, this.options.size));
      if (real instanceof Drop) throw new DrmError('INTERNAL', `[data] ${emoji.key}: ${real.detail}`);
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

  #draws(emoji: EmojiPicture, within: number): PhiloxStream {
    return new PhiloxStream(this.options.seed, PURPOSE, hash(emoji.key), within);
  }

  #corrupted(emoji: EmojiPicture, kind: Corruption, grade: Grade, within: number): PairPicture {
    const read = async () => {
      const clean = await decodePicture(await drawEmoji(emoji, this.options.size));
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

/** Sources, licences, and what was done to the images, which CC-BY asks for. */
function attribution(notes: SourceNote[], { size, models, scorer }: PrefsOptions): string {
  return [
    '# Sources and licences of these images',
    '',
    `Drawn from SVG at ${size}x${size} pixels on white by \`drm data prepare emoji-prefs\`. Of each pair, \`chosen_model\` and`,
    '`rejected_model` say what was changed: "real" is an image as it is, "real, blur" one that was made worse on purpose;',
    `all others were drawn by ${models.map(({ name }) => name).join(', ')}. Which of two is better follows from how they were made;`,
    'no person was asked.',
    ...(scorer
      ? [
          `Of two that ${models[0]?.name} drew by the same settings, that is better which ${scorer.name} finds more like the original.`,
        ]
      : []),
    '',
    ...notes.map(
      (note) =>
        `- ${note.name} ${note.version}: by ${note.author} (${note.url}), licence ${note.licence} (${note.licence_url})`,
    ),
    '',
  ].join('\n');
}

/** Throws DrmError USAGE when there is no such split. */
export function emojiPrefsSource(options: PrefsOptions, paint: Painter, likeness?: Likeness): Source {
  const { notes, concepts } = listEmoji();
  const wanted = PREFS_SPLITS.filter((name) => options.split === 'all' || options.split === name);
  if (wanted.length === 0)
    throw new DrmError('USAGE', `--split ${options.split}: expected ${['all', ...PREFS_SPLITS].join(', ')}`);
  const pictures = emojiPictures(concepts);
  const planner = new Planner(options, paint, likeness);
  const sets = wanted.map((name) => pictures.filter((picture) => prefsSplitOf(picture) === name));
  const most = planner.each * sets.reduce((sum, { length }) => sum + length, 0);
  const share = Math.min(1, (options.maxPairs ?? most) / most);
  const splits = sets.map((all, i) => {
    const order = epochOrder(options.seed, PREFS_SPLITS.indexOf(wanted[i] as PrefsSplit), all.length);
    const count = Math.max(1, Math.floor(all.length * share));
    return { all, captions: [...order.subarray(0, count)].map((at) => all[at] as EmojiPicture) };
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
    extras: [{ name: 'ATTRIBUTION.md', text: attribution(notes, options) }],
  });
}
