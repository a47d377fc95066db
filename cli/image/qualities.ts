// What can be seen of an image whatever it shows: perceptual qualities, each a number of its pixels alone. They stand in
// for what people look at where nobody can be asked, and are the same for everyone who measures.
import type { Image } from './write.js';

/** Red, green and blue, 0 to 1, one plane after the other. */
interface Planes {
  width: number;
  height: number;
  planes: [Float64Array, Float64Array, Float64Array];
}

function planesOf({ pixels, width, height }: Image): Planes {
  const planes = [0, 1, 2].map((channel) => {
    const plane = new Float64Array(width * height);
    for (let i = 0; i < plane.length; i++) plane[i] = (pixels[3 * i + channel] as number) / 255;
    return plane;
  });
  return { width, height, planes: planes as Planes['planes'] };
}

/** Squared differences to the right-hand and the lower neighbour, summed over the channels, of each pixel that has both;
 * the smallest first. */
function gradientEnergies({ width, height, planes }: Planes): Float64Array {
  const energies = new Float64Array((width - 1) * (height - 1));
  for (const plane of planes)
    for (let y = 0; y + 1 < height; y++)
      for (let x = 0; x + 1 < width; x++) {
        const here = plane[y * width + x] as number;
        const across = (plane[y * width + x + 1] as number) - here;
        const down = (plane[(y + 1) * width + x] as number) - here;
        const at = y * (width - 1) + x;
        energies[at] = (energies[at] as number) + across * across + down * down;
      }
  return energies.sort();
}

const mean = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Contours: mean gradient energy of the tenth of the pixels where it is strongest. */
function crispness(energies: Float64Array): number {
  return mean(energies.subarray(Math.floor(0.9 * energies.length)));
}

/** Hasler and Süsstrunk 2003, "Measuring colourfulness in natural images", of values from 0 to 1. */
function colourfulness({ planes: [r, g, b] }: Planes): number {
  const spread = (of: (i: number) => number) => {
    let sum = 0;
    let squares = 0;
    for (let i = 0; i < r.length; i++) {
      const value = of(i);
      sum += value;
      squares += value * value;
    }
    const middle = sum / r.length;
    return { middle, variance: Math.max(0, squares / r.length - middle * middle) };
  };
  const redGreen = spread((i) => (r[i] as number) - (g[i] as number));
  const yellowBlue = spread((i) => ((r[i] as number) + (g[i] as number)) / 2 - (b[i] as number));
  return Math.sqrt(redGreen.variance + yellowBlue.variance) + 0.3 * Math.hypot(redGreen.middle, yellowBlue.middle);
}

/** Left and right: minus the mean difference of the image and its mirror image. */
function symmetry({ width, height, planes }: Planes): number {
  let sum = 0;
  for (const plane of planes)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        sum += Math.abs((plane[y * width + x] as number) - (plane[y * width + width - 1 - x] as number));
  return -sum / (3 * width * height);
}

export const QUALITIES = ['crispness', 'colourfulness', 'symmetry'] as const;
export type Quality = (typeof QUALITIES)[number];

/** Higher is better of each. The image must have two pixels a side at least. */
export function qualitiesOf(image: Image): Record<Quality, number> {
  const planes = planesOf(image);
  return {
    crispness: crispness(gradientEnergies(planes)),
    colourfulness: colourfulness(planes),
    symmetry: symmetry(planes),
  };
}
