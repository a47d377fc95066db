// The one interface of all that gives an image under its prompt a number: a reward model at some noise level, a CLIP, a
// weighted sum of them. Commands know no other.
import type { Features, ImageGuide, JobOptions } from '../../binding/types.js';
import type { Image } from '../image/write.js';
import { CLEAN_LEVEL, type Level, levelText } from './levels.js';

/** What a reward scores: noisy latents at timesteps (and clean ones at timestep 0), or finished images alone. */
export type Sees = 'noisy latents' | 'images';

/** How an image is looked at. */
export interface Viewing {
  levels: readonly Level[];
  /** Above level 0: noise of that level is added. Otherwise the network is told the timestep of a latent that stays clean. */
  addNoise: boolean;
  /** Of noise, averaged. */
  draws: number;
  /** Of the noise. */
  seed: number;
  /** The latent is drawn from the VAE's posterior instead of taken at its mode. */
  posteriorSample: boolean;
  /** Pixels a side that the images are squashed to; the reward's own by default. */
  size?: number;
}

/** A finished image as it is. */
export const CLEAN: Viewing = {
  levels: [CLEAN_LEVEL],
  addNoise: true,
  draws: 1,
  seed: 0,
  posteriorSample: false,
};

export interface Judged {
  image: Image;
  /** Rewards that read no text ignore it. */
  prompt: string;
  /** Keys the image's noise, so that its score does not depend on what is scored beside it. */
  key: number;
}

/** The latents that reward models score: those of their base. */
export interface LatentSpace {
  /** Timesteps of the base's training table, noisiest first; undefined for a sum of models whose tables differ. */
  schedule?: ArrayLike<number>;
  /** Pixels a side of the images that the models were trained with. */
  sizes: readonly number[];
}

/** Where images and captions meet: images can be searched by caption, differ by a number, and sets have a distance. */
export interface FeatureSpace {
  /** Unit vectors. */
  images(images: Image[], job?: JobOptions): Promise<Features>;
  captions(captions: string[], job?: JobOptions): Promise<Features>;
}

export interface Reward {
  /** As the user called it. */
  readonly name: string;
  /** What the number is: 'score', 'cosine'. */
  readonly unit: string;
  /** Tells these weights from others under the same name. */
  readonly weights: string;
  readonly sees: Sees;
  /** Of reward models, alone or in a sum; with it a size can be chosen. */
  readonly latents?: LatentSpace;
  /** Of a CLIP, whose score is the nearness of an image and its prompt in it. */
  readonly space?: FeatureSpace;
  /** What makes logits of its numbers: e to the CLIP's logit scale for cosines; 1 where it is left out. */
  readonly scale?: number;
  /** What the numbers at each level rest on: belongs beside every figure. */
  definitions(viewing: Viewing): string[];
  /** By level, one number for each image; larger is better. All levels are scored at once: an image is encoded once. */
  score(judged: readonly Judged[], viewing: Viewing, job?: JobOptions): Promise<number[][]>;
  /** Of a reward of finished images that says how sure it is: the standard deviation of each score beside it. */
  withDeviations?(judged: readonly Judged[], job?: JobOptions): Promise<{ scores: number[]; deviations: number[] }>;
  /**
   * Of a reward of finished images whose number, up to a positive factor, is one of the core's: what chooses by it among
   * candidates of images under these prompts.
   */
  guide?(prompts: readonly string[]): Promise<ImageGuide>;
  /** That its weights take at most, where that is known; what has it may be disposed of between scores, and loads again. */
  readonly bytes?: number;
  /** Loads at once what would wait for the first score. */
  ready?(): Promise<void>;
  dispose(): void;
}

/** A number for each finished image under its own prompt. */
export async function scoreImages(
  reward: Reward,
  images: readonly Image[],
  prompts: readonly string[],
  job?: JobOptions,
): Promise<number[]> {
  const judged = images.map((image, i) => ({ image, prompt: prompts[i] as string, key: 0 })); // no noise
  const [scores] = (await reward.score(judged, CLEAN, job)) as [number[]];
  return scores;
}

/** What a reward of finished images has to say for itself; the rest is the same for all of them. */
export interface ImageScoring
  extends Pick<Reward, 'name' | 'unit' | 'weights' | 'space' | 'scale' | 'guide' | 'dispose'> {
  /** What the number rests on: 'cosine of image and prompt'. */
  definition: string;
  score(judged: readonly Judged[], job?: JobOptions): Promise<number[]>;
}

/** There is no noise for it to see: it says the same at every level. */
export const imageReward = ({ definition, score, ...own }: ImageScoring): Reward => ({
  ...own,
  sees: 'images',
  definitions: ({ levels }) => levels.map((level) => `${levelText(level)}: ${definition}, no noise`),
  score: async (judged, { levels }, job) => {
    const scores = await score(judged, job);
    return levels.map(() => scores);
  },
});

/** The same image and prompt are one. */
export function distinct<T>(values: readonly T[]): { all: T[]; of: number[] } {
  const index = new Map<T, number>();
  const of = values.map((value) => {
    const known = index.get(value);
    if (known !== undefined) return known;
    index.set(value, index.size);
    return index.size - 1;
  });
  return { all: [...index.keys()], of };
}

export type Pair = readonly [first: number, second: number];

/** How far two images are apart. It reads no prompt and prefers neither image, so it is no reward. */
export interface Distance {
  /** As the user called it. */
  readonly name: string;
  /** What the number rests on: 'LPIPS v0.1, AlexNet'. */
  readonly definition: string;
  /** Tells these weights from others under the same name. */
  readonly weights: string;
  /** A number for each pair of images, by their indexes; 0: equal. Both of a pair must have one size. */
  between(images: readonly Image[], pairs: readonly Pair[], job?: JobOptions): Promise<number[]>;
  dispose(): void;
}
