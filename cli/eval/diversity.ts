// How different images of one prompt are: the mean over all pairs of them of 1 - cosine of a CLIP's image features.
// LPIPS, which the paper's Table 4 has in this place, compares AlexNet's features position by position; its weights do not
// come with drm. This one sees what images show rather than how their edges run: comparable with itself alone.
import type { Features } from '../../binding/types.js';
import { cosine } from '../rewards/features.js';

/** One number a prompt that has at least two images, in the order of the prompts' first images. */
export function spreads(features: Features, group: (picture: number) => number): number[] {
  const groups = new Map<number, number[]>();
  for (let i = 0; i < features.rows; i++) groups.set(group(i), [...(groups.get(group(i)) ?? []), i]);
  return [...groups.values()].flatMap((rows) => {
    let sum = 0;
    let pairs = 0;
    for (const [at, i] of rows.entries())
      for (const j of rows.slice(at + 1)) {
        sum += 1 - cosine(features, i, features, j);
        pairs += 1;
      }
    return pairs > 0 ? [sum / pairs] : [];
  });
}
