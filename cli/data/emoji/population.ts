// The population that simulated raters are drawn from: how much it minds each quality of an image. Its mean utility is the
// truth about the embedded preferences.
import { QUALITIES, type Quality, qualitiesOf } from '../../image/qualities.js';
import type { Image } from '../../image/write.js';

interface Taste {
  /** In utility, for one deviation of the quality. */
  weight: number;
  /** Of own images of `tiny` at its recommended settings, and their deviation within a caption: what makes weights of
   * different qualities comparable. 816 images with SDE noise of level 0.7, 8 each of 102 captions of the split `test`. */
  mean: number;
  deviation: number;
}

/** How much the population's mean member is for each quality. */
export const POPULATION: Readonly<Record<Quality, Taste>> = {
  crispness: { weight: 1, mean: 0.34, deviation: 0.018 },
  colourfulness: { weight: 0.5, mean: 0.28, deviation: 0.0087 },
  symmetry: { weight: 0.5, mean: -0.09, deviation: 0.0098 },
};

/** Qualities in deviations of the base's own images of a caption. */
export function standardized(image: Image): Record<Quality, number> {
  const found = qualitiesOf(image);
  return Object.fromEntries(
    QUALITIES.map((name) => [name, (found[name] - POPULATION[name].mean) / POPULATION[name].deviation]),
  ) as Record<Quality, number>;
}

/** What an image is worth to someone who weighs its qualities so. */
export const utility = (weights: Readonly<Record<Quality, number>>, seen: Readonly<Record<Quality, number>>): number =>
  QUALITIES.reduce((sum, name) => sum + weights[name] * seen[name], 0);

export const populationWeights = Object.fromEntries(QUALITIES.map((name) => [name, POPULATION[name].weight])) as Record<
  Quality,
  number
>;
