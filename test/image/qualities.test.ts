// Qualities of images whose values follow by hand, and what each must not mind.
import { expect, test } from 'vitest';
import { qualitiesOf } from '../../cli/image/qualities.js';
import type { Image } from '../../cli/image/write.js';

const image = (width: number, height: number, at: (x: number, y: number) => [number, number, number]): Image => ({
  pixels: Uint8Array.from({ length: 3 * width * height }, (_, i) => {
    const pixel = Math.floor(i / 3);
    return at(pixel % width, Math.floor(pixel / width))[i % 3] as number;
  }),
  width,
  height,
});
const grey = (value: number): [number, number, number] => [value, value, value];

test('an image of one colour has no contours and is symmetric', () => {
  const { crispness, colourfulness, symmetry } = qualitiesOf(image(8, 6, () => [255, 0, 0]));
  expect([crispness, symmetry].map(Math.abs)).toEqual([0, 0]);
  expect(colourfulness).toBeCloseTo(0.3 * Math.hypot(1, 0.5), 12); // red - green is 1, yellow - blue a half
});

test('an edge counts by its height squared, in the strongest tenth of the pixels', () => {
  // One column of ten differs from its right-hand neighbour, by 1 in each of three channels.
  const { crispness } = qualitiesOf(image(11, 5, (x) => grey(x < 5 ? 0 : 255)));
  expect(crispness).toBeCloseTo(3, 12);
  const half = qualitiesOf(image(11, 5, (x) => grey(x < 5 ? 0 : 51)));
  expect(half.crispness).toBeCloseTo(3 * 0.2 ** 2, 12);
});

test('colourfulness is that of Hasler and Süsstrunk', () => {
  // Half red, half green: red - green is 1 or -1, yellow - blue a half everywhere.
  const { colourfulness } = qualitiesOf(image(4, 4, (x) => (x < 2 ? [255, 0, 0] : [0, 255, 0])));
  expect(colourfulness).toBeCloseTo(1 + 0.3 * 0.5, 12);
  expect(qualitiesOf(image(4, 4, (x) => grey(40 * x))).colourfulness).toBeCloseTo(0, 12);
});

test('symmetry is minus the mean difference to the mirror image', () => {
  expect(Math.abs(qualitiesOf(image(4, 3, (x) => grey(x === 0 || x === 3 ? 255 : 0))).symmetry)).toBe(0);
  expect(qualitiesOf(image(4, 3, (x) => grey(x === 0 ? 255 : 0))).symmetry).toBeCloseTo(-0.5, 12);
});
