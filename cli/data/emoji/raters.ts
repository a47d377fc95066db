// Simulated raters: who votes on the embedded preferences. Each weighs the qualities of images in a way of its own, drawn
// around a population's, and chooses between two images at random by Bradley and Terry's model of the difference. The
// population's mean utility is known (rewards/truth.ts), so that what was learned from the votes can be held against it.
// Nobody was asked, and nothing here is called human.
import { QUALITIES, type Quality } from '../../image/qualities.js';
import { PhiloxStream } from '../../random/philox_stream.js';
import { populationWeights, utility } from './population.js';

/** Keeps this use of the seed apart from all others ("rate"). */
const PURPOSE = 0x72617465;

/** Of log-weights among raters: two in three weigh a quality between 0.6 and 1.6 times as the median does. */
const SPREAD = 0.5;

/** Of a vote, in utility: at a difference of this, 73 % vote for the better of two. */
const TEMPERATURE = 0.5;

export const RATER_RULE =
  `A rater's weight of a quality is the population's times exp(${SPREAD} z - ${SPREAD ** 2 / 2}), z normal, drawn once; it votes for ` +
  `the first of two images with probability 1 / (1 + exp(-(difference of utility) / ${TEMPERATURE})). The share of the votes is the confidence.`;

export type Rater = Readonly<Record<Quality, number>>;

/** Raters of a group: other groups have others of the same population, whose mean their weights have. */
export const drawRaters = (seed: number, count: number, group: number): Rater[] =>
  Array.from({ length: count }, (_, index) => {
    const draws = new PhiloxStream(seed, PURPOSE, index, group);
    return Object.fromEntries(
      QUALITIES.map((name) => [name, populationWeights[name] * Math.exp(SPREAD * draws.normal() - SPREAD ** 2 / 2)]),
    ) as Rater;
  });

/** Votes for the first of two images and for the second, of all raters. */
export function votesOf(
  raters: readonly Rater[],
  first: Readonly<Record<Quality, number>>,
  second: Readonly<Record<Quality, number>>,
  draws: PhiloxStream,
): [number, number] {
  let votes = 0;
  for (const rater of raters) {
    const difference = utility(rater, first) - utility(rater, second);
    if (draws.uniform() < 1 / (1 + Math.exp(-difference / TEMPERATURE))) votes += 1;
  }
  return [votes, raters.length - votes];
}
