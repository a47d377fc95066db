// What can be told of images without a model, and goes wrong when a reward is cheated: they turn dark, lurid, blurred or
// grainy. Each figure is in [0, 1].
import type { Bitmap } from '../../binding/types.js';

export interface ImageFigures {
  /** Mean luma. */
  brightness: number;
  /** Mean of the largest minus the smallest of a pixel's three channels. */
  saturation: number;
  /** Root mean square of luma minus its 3 × 3 binomial blur: edges, grain, grids. */
  high_frequency: number;
}

/** Rec. 601, as in JPEG. */
const LUMA = [0.299, 0.587, 0.114] as const;

function lumaOf({ pixels }: Bitmap): Float64Array {
  return Float64Array.from(
    { length: pixels.length / 3 },
    (_, i) =>
      (LUMA[0] * (pixels[3 * i] as number) +
        LUMA[1] * (pixels[3 * i + 1] as number) +
        LUMA[2] * (pixels[3 * i + 2] as number)) /
      255,
  );
}

/** (1 2 1) / 4 along one axis, edges repeated. */
function blurred(from: Float64Array, width: number, height: number, across: boolean): Float64Array {
  const to = new Float64Array(from.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      const before = across ? (x > 0 ? at - 1 : at) : y > 0 ? at - width : at;
      const after = across ? (x < width - 1 ? at + 1 : at) : y < height - 1 ? at + width : at;
      to[at] = ((from[before] as number) + 2 * (from[at] as number) + (from[after] as number)) / 4;
    }
  return to;
}

function figuresOf(image: Bitmap): ImageFigures {
  const { pixels, width, height } = image;
  const luma = lumaOf(image);
  const low = blurred(blurred(luma, width, height, true), width, height, false);
  let [brightness, saturation, energy] = [0, 0, 0];
  for (let i = 0; i < luma.length; i++) {
    const [r, g, b] = [pixels[3 * i] as number, pixels[3 * i + 1] as number, pixels[3 * i + 2] as number];
    brightness += luma[i] as number;
    saturation += (Math.max(r, g, b) - Math.min(r, g, b)) / 255;
    energy += ((luma[i] as number) - (low[i] as number)) ** 2;
  }
  const n = luma.length;
  return { brightness: brightness / n, saturation: saturation / n, high_frequency: Math.sqrt(energy / n) };
}

/** Means over images. */
export function imageFigures(images: readonly Bitmap[]): ImageFigures {
  const each = images.map(figuresOf);
  const mean = (name: keyof ImageFigures) => each.reduce((sum, one) => sum + one[name], 0) / each.length;
  return { brightness: mean('brightness'), saturation: mean('saturation'), high_frequency: mean('high_frequency') };
}
