// What gives a picture under its prompt a number, as the commands see it: a reward model at some noise level, a scorer, or
// a weighted sum of them.
import type { JobOptions } from '../../binding/types.js';
import type { Picture } from '../image/write.js';
import { CLEAN_LEVEL, type Level } from './levels.js';

/** How a picture is looked at. */
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
  /** Pixels a side that the pictures are squashed to; the reward's own by default. */
  size?: number;
}

/** A finished picture as it is. */
export const CLEAN: Viewing = {
  levels: [CLEAN_LEVEL],
  addNoise: true,
  draws: 1,
  seed: 0,
  posteriorSample: false,
};

export interface Judged {
  picture: Picture;
  prompt: string;
  /** Keys the picture's noise, so that its score does not depend on what is scored beside it. */
  key: number;
}

export interface Reward {
  /** As the user called it. */
  readonly name: string;
  /** What the number is: 'score', 'cosine'. */
  readonly unit: string;
  /** Tells these weights from others under the same name. */
  readonly weights: string;
  /** Whether it scores noisy latents, at timesteps above 0. */
  readonly noisy: boolean;
  /** Timesteps of its base's training table, noisiest first; undefined where there is none, or more than one. */
  readonly schedule?: ArrayLike<number>;
  /** Pixels a side of the pictures that its reward models were trained with; none where they cannot be other ones. */
  readonly sizes: readonly number[];
  /** What makes logits of its numbers: e to the CLIP's logit scale for cosines; 1 where it is left out. */
  readonly scale?: number;
  /** What the numbers at each level rest on: belongs beside every figure. */
  definitions(viewing: Viewing): string[];
  /** By level, one number for each picture; larger is better. */
  score(judged: readonly Judged[], viewing: Viewing, job?: JobOptions): Promise<number[][]>;
  dispose(): void;
}

/** The same picture and prompt are one. */
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
