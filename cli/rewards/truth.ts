// The truth about the embedded preferences: the mean utility of the population that simulated raters are drawn from. It
// measures, and is never trained on or guided by; what is trained sees votes (data/emoji/raters.ts).
import { createHash } from 'node:crypto';
import { POPULATION, populationWeights, standardized, utility } from '../data/emoji/population.js';
import { QUALITIES } from '../image/qualities.js';
import { imageReward } from './reward.js';
import type { ImageSpec } from './spec.js';

export const truthSpec = (name: string): ImageSpec => ({
  name,
  sees: 'images',
  measuresAlone: 'the truth about simulated raters',
  load: async () =>
    imageReward({
      name,
      unit: 'utility',
      definition: `mean utility of the simulated raters' population (${QUALITIES.map((one) => `${POPULATION[one].weight} ${one}`).join(' + ')}, each over its deviation)`,
      weights: createHash('sha256').update(JSON.stringify(POPULATION)).digest('hex').slice(0, 32),
      score: async (judged) => judged.map(({ image }) => utility(populationWeights, standardized(image))),
      dispose: () => {},
    }),
});
