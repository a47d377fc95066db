// Filters of pixels: what is beyond an image's edge is its edge.
import type { Image } from './write.js';

/** Without a copy. */
export const bytesOf = (clamped: Uint8ClampedArray): Uint8Array => new Uint8Array(clamped.buffer);

/** Each value of each channel by itself; rounded, and kept between 0 and 255. */
export function perValue({ pixels, width, height }: Image, map: (value: number, at: number) => number): Image {
  return { pixels: bytesOf(Uint8ClampedArray.from(pixels, map)), width, height };
}

/** A Gaussian of that deviation in pixels. */
export function blur({ pixels, width, height }: Image, deviation: number): Image {
  const radius = Math.ceil(3 * deviation);
  const weights = Array.from({ length: 2 * radius + 1 }, (_, i) =>
    Math.exp(-((i - radius) ** 2) / (2 * deviation ** 2)),
  );
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const along = (from: ArrayLike<number>, length: number, stride: number, to: Float32Array | Uint8ClampedArray) => {
    for (let i = 0; i < to.length; i++) {
      const at = Math.floor(i / stride) % length;
      let value = 0;
      for (const [k, weight] of weights.entries()) {
        const other = Math.min(Math.max(at + k - radius, 0), length - 1);
        value += weight * (from[i + (other - at) * stride] as number);
      }
      to[i] = value / sum;
    }
  };
  const rows = new Float32Array(pixels.length);
  along(pixels, width, 3, rows);
  const blurred = new Uint8ClampedArray(pixels.length);
  along(rows, height, 3 * width, blurred);
  return { pixels: bytesOf(blurred), width, height };
}

/** The image whose pixel at (x, y) is the other's at from(x, y), between four pixels by both distances. */
export function resample({ pixels, width, height }: Image, from: (x: number, y: number) => [number, number]): Image {
  const moved = new Uint8ClampedArray(pixels.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const [atX, atY] = from(x, y);
      const fromX = Math.min(Math.max(atX, 0), width - 1);
      const fromY = Math.min(Math.max(atY, 0), height - 1);
      const [x0, y0] = [Math.floor(fromX), Math.floor(fromY)];
      const [x1, y1] = [Math.min(x0 + 1, width - 1), Math.min(y0 + 1, height - 1)];
      const [fx, fy] = [fromX - x0, fromY - y0];
      for (let channel = 0; channel < 3; channel++) {
        const value = (px: number, py: number) => pixels[3 * (py * width + px) + channel] as number;
        moved[3 * (y * width + x) + channel] =
          (value(x0, y0) * (1 - fx) + value(x1, y0) * fx) * (1 - fy) +
          (value(x0, y1) * (1 - fx) + value(x1, y1) * fx) * fy;
      }
    }
  return { pixels: bytesOf(moved), width, height };
}
