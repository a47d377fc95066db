// How different images of one prompt are: the mean over all pairs of them, then over prompts. Without weights of others the
// pairs' distance is 1 - cosine of a CLIP scorer's image features, which sees what images show and is comparable with
// itself alone. LPIPS, which the paper's Table 4 has in this place, compares them position by position.
import type { Features } from '../../binding/types.js';
import type { Image } from '../image/write.js';
import { cosine } from '../rewards/features.js';
import type { Distance, Pair } from '../rewards/reward.js';
import { average, type Estimate, estimate } from './bootstrap.js';
import type { EvaluationOptions } from './retrieval.js';

/** Which images are of one prompt: the number of image i's prompt. */
export type PromptOf = (image: number) => number;

/** All pairs of a prompt's images, for each prompt that has at least two, in the order of the prompts' first images. */
export function pairsByPrompt(count: number, promptOf: PromptOf): Pair[][] {
  const prompts = new Map<number, number[]>();
  for (let i = 0; i < count; i++) {
    const prompt = promptOf(i);
    const known = prompts.get(prompt);
    if (known) known.push(i);
    else prompts.set(prompt, [i]);
  }
  return [...prompts.values()]
    .filter((images) => images.length > 1)
    .map((images) => images.flatMap((i, at) => images.slice(at + 1).map((j): Pair => [i, j])));
}

/** By a CLIP's features: one number a prompt that has at least two images. */
export const spreads = (features: Features, promptOf: PromptOf): number[] =>
  pairsByPrompt(features.rows, promptOf).map((pairs) =>
    average(pairs.map(([i, j]) => 1 - cosine(features, i, features, j))),
  );

/** Of one setting's images. */
export interface Diversity {
  /** As the user called it, and what it is. */
  distance: string;
  definition: string;
  /** Tells the distance's weights from others. */
  weights: string;
  /** Pairs compared, of all prompts. */
  pairs: number;
  /** The mean over prompts of their pairs' mean; the interval resamples prompts. */
  mean: Estimate;
}

/** A diversity, and what it was made of: with it two settings can be compared prompt by prompt. */
export interface MeasuredDiversity {
  diversity: Diversity;
  byPrompt: number[];
}

/** Of `count` images, which are read prompt by prompt. Rejects with BAD_REQUEST for two sizes under one prompt. */
export async function measureDiversity(
  distance: Distance,
  count: number,
  promptOf: PromptOf,
  read: (image: number) => Promise<Image>,
  { onImages, onWarning: _, ...job }: EvaluationOptions,
): Promise<MeasuredDiversity> {
  const byPrompt: number[] = [];
  let done = 0;
  const all = pairsByPrompt(count, promptOf);
  for (const pairs of all) {
    const numbers = [...new Set(pairs.flat())];
    const place = new Map(numbers.map((number, at) => [number, at]));
    const images = await Promise.all(numbers.map(read));
    const own = pairs.map(([i, j]): Pair => [place.get(i) as number, place.get(j) as number]);
    byPrompt.push(average(await distance.between(images, own, job)));
    done += images.length;
    onImages?.(done, count);
  }
  const { name, definition, weights } = distance;
  const mean = estimate(byPrompt.map((value) => [value]));
  return { diversity: { distance: name, definition, weights, pairs: all.flat().length, mean }, byPrompt };
}
