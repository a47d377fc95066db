// A reward that needs no weights: how red an image is. What a new scorer is: one file, one line in the registry.
import { imageReward, type Judged } from '../../cli/rewards/reward.js';
import type { ImageSpec } from '../../cli/rewards/spec.js';

/** Mean of the red channel, 0 to 1. */
export function redness({ image: { pixels } }: Judged): number {
  let sum = 0;
  for (let i = 0; i < pixels.length; i += 3) sum += pixels[i] as number;
  return sum / (pixels.length / 3) / 255;
}

export const toyReward = (name: string): ImageSpec => ({
  name,
  sees: 'images',
  load: async () =>
    imageReward({
      ...{ name, unit: 'redness', weights: 'none', definition: 'mean of the red channel' },
      score: async (judged) => judged.map(redness),
      dispose: () => {},
    }),
});
