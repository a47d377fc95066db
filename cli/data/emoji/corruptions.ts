// Images made worse on purpose, in five grades from barely visible to strong: the order of an image and its
// corruption is known by construction. Lengths are given for images of 64 pixels and grow with the image.
import sharp from 'sharp';
import { blur, bytesOf, perValue, resample } from '../../image/filters.js';
import type { Image } from '../../image/write.js';
import type { PhiloxStream } from '../../random/philox_stream.js';

export const GRADES = [1, 2, 3, 4, 5] as const;
export type Grade = (typeof GRADES)[number];

/** The strength of each grade. */
const STRENGTH = {
  /** Standard deviation of the Gaussian, in pixels. */
  blur: [0.45, 0.65, 0.95, 1.4, 2.2],
  /** Standard deviation of the noise, of 255. */
  noise: [4, 8, 16, 32, 64],
  /** JPEG quality. */
  blocks: [85, 60, 35, 15, 5],
  /** Hues turned by so many degrees. */
  colour: [20, 40, 75, 120, 180],
  /** Share of the image's area that is gone. */
  erase: [0.015, 0.035, 0.08, 0.16, 0.3],
  /** Greatest displacement, in pixels. */
  warp: [1.25, 2, 3.25, 5, 8],
} as const;

export type Corruption = keyof typeof STRENGTH;
export const CORRUPTIONS = Object.keys(STRENGTH) as Corruption[];

/** The same pixels are not changed; the same draws give the same image. */
export async function corrupt(image: Image, kind: Corruption, grade: Grade, draws: PhiloxStream): Promise<Image> {
  const strength = STRENGTH[kind][grade - 1] as number;
  const scale = Math.max(image.width, image.height) / 64;
  switch (kind) {
    case 'blur':
      return blur(image, strength * scale);
    case 'noise':
      return perValue(image, (value) => value + strength * draws.normal());
    case 'blocks':
      return await throughJpeg(image, strength);
    case 'colour':
      return shiftColour(image, grade, (draws.below(2) === 0 ? strength : -strength) * (Math.PI / 180), draws);
    case 'erase':
      return erase(image, strength, draws);
    case 'warp':
      return warp(image, strength * scale, draws);
  }
}

async function throughJpeg({ pixels, width, height }: Image, quality: number): Promise<Image> {
  const jpeg = await sharp(pixels, { raw: { width, height, channels: 3 } })
    .jpeg({ quality })
    .toBuffer();
  return { pixels: await sharp(jpeg).removeAlpha().toColourspace('srgb').raw().toBuffer(), width, height };
}

/** A tint of this many levels is what an image without colours gets instead, which no turning would change. */
const TINT = [8, 16, 28, 45, 70] as const;

function shiftColour(image: Image, grade: Grade, angle: number, draws: PhiloxStream): Image {
  const turned = turnHues(image, angle);
  const tint = TINT[grade - 1] as number;
  // As much as the tint changes over a tenth of the image, or nobody would see it.
  if (meanDifference(image, turned) >= tint / 10) return turned;
  const direction = 2 * Math.PI * draws.uniform();
  const shift = [0, 1, 2].map((channel) => tint * Math.cos(direction + (2 * Math.PI * channel) / 3));
  return perValue(image, (value, at) => value + (shift[at % 3] as number));
}

/** Rotation about the grey axis, so that grey and white stay what they are. */
function turnHues({ pixels, width, height }: Image, angle: number): Image {
  const turned = new Uint8ClampedArray(pixels.length);
  const cos = Math.cos(angle);
  const along = (1 - cos) / 3;
  const across = Math.sin(angle) / Math.sqrt(3);
  for (let i = 0; i < pixels.length; i += 3) {
    const [r, g, b] = [pixels[i] as number, pixels[i + 1] as number, pixels[i + 2] as number];
    const grey = along * (r + g + b);
    turned[i] = cos * r + grey + across * (b - g);
    turned[i + 1] = cos * g + grey + across * (r - b);
    turned[i + 2] = cos * b + grey + across * (g - r);
  }
  return { pixels: bytesOf(turned), width, height };
}

/** Different enough from the background that its loss is seen. */
const VISIBLE = 48;

/** A round part of the thing shown becomes background: what the image's edge mostly shows. */
function erase(image: Image, share: number, draws: PhiloxStream): Image {
  const { width, height } = image;
  const pixels = Uint8Array.from(image.pixels);
  const difference = (at: number, from: readonly number[]) =>
    Math.max(...from.map((value, channel) => Math.abs(value - (pixels[3 * at + channel] as number))));
  const colourAt = (at: number) => [...pixels.subarray(3 * at, 3 * at + 3)];
  let fill = colourAt(0);
  let shown = visible();
  // An image of one colour loses a part to its opposite.
  if (shown.length === 0) {
    fill = fill.map((value) => (value < 128 ? 255 : 0));
    shown = visible();
  }
  function visible(): number[] {
    return Array.from({ length: width * height }, (_, at) => at).filter((at) => difference(at, fill) > VISIBLE);
  }
  // Around a part that is there; the nearest others first, until the share is gone.
  const centre = draws.pick(shown);
  const stretch = 0.6 + 0.8 * draws.uniform();
  const distance = (at: number) => {
    const x = (at % width) - (centre % width);
    const y = Math.floor(at / width) - Math.floor(centre / width);
    return x * x * stretch + (y * y) / stretch;
  };
  const nearest = shown.map((at) => ({ at, distance: distance(at) })).sort((a, b) => a.distance - b.distance);
  const last = nearest[Math.min(nearest.length, Math.max(1, Math.round(share * width * height))) - 1];
  for (let at = 0; at < width * height; at++) if (distance(at) <= (last?.distance ?? 0)) pixels.set(fill, 3 * at);
  return { pixels, width, height };
}

/** Points of the grid whose displacements are drawn; between them they run smoothly. */
const GRID = 4;

/** Bent: what a weak generator does to shapes. */
function warp({ pixels, width, height }: Image, greatest: number, draws: PhiloxStream): Image {
  const grid = Array.from({ length: 2 * GRID * GRID }, () => draws.normal());
  const largest = Math.max(...grid.map(Math.abs));
  const displacement = (axis: number, x: number, y: number): number => {
    const [gx, gy] = [(x / (width - 1 || 1)) * (GRID - 1), (y / (height - 1 || 1)) * (GRID - 1)];
    const [x0, y0] = [Math.min(Math.floor(gx), GRID - 2), Math.min(Math.floor(gy), GRID - 2)];
    const ease = (t: number) => t * t * (3 - 2 * t);
    const [fx, fy] = [ease(gx - x0), ease(gy - y0)];
    const point = (dx: number, dy: number) => grid[(axis * GRID + y0 + dy) * GRID + x0 + dx] as number;
    const value =
      (point(0, 0) * (1 - fx) + point(1, 0) * fx) * (1 - fy) + (point(0, 1) * (1 - fx) + point(1, 1) * fx) * fy;
    return (greatest * value) / largest;
  };
  const size = { pixels, width, height };
  return resample(size, (x, y) => [x + displacement(0, x, y), y + displacement(1, x, y)]);
}

/** Mean over all values, of 255. */
export function meanDifference(a: Image, b: Image): number {
  let sum = 0;
  for (const [i, value] of a.pixels.entries()) sum += Math.abs(value - (b.pixels[i] as number));
  return sum / a.pixels.length;
}
