// Figures of images, on images whose figures are known.
import { expect, test } from 'vitest';
import { imageFigures } from '../../cli/grpo/images.js';

const painted = (at: (x: number, y: number) => [number, number, number], size = 16) => ({
  pixels: Uint8Array.from({ length: size * size * 3 }, (_, i) => {
    const pixel = Math.floor(i / 3);
    return at(pixel % size, Math.floor(pixel / size))[i % 3] as number;
  }),
  width: size,
  height: size,
});
const plain = (r: number, g: number, b: number) => painted(() => [r, g, b]);

test('brightness and saturation of plain colours', () => {
  expect(imageFigures([plain(0, 0, 0)])).toEqual({ brightness: 0, saturation: 0, high_frequency: 0 });
  expect(imageFigures([plain(255, 255, 255)]).brightness).toBeCloseTo(1, 12);
  expect(imageFigures([plain(255, 0, 0)])).toMatchObject({ brightness: expect.closeTo(0.299, 12), saturation: 1 });
  expect(imageFigures([plain(102, 51, 51)]).saturation).toBeCloseTo(0.2, 12);
});

test('a chessboard is all edges; a ramp and a plain image have next to none', () => {
  const chess = painted((x, y) => ((x + y) % 2 ? [255, 255, 255] : [0, 0, 0]));
  const ramp = painted((x) => [x * 16, x * 16, x * 16]);
  // Within, the blur of a chessboard is 1/2 everywhere.
  expect(imageFigures([chess]).high_frequency).toBeGreaterThan(0.45);
  expect(imageFigures([chess]).high_frequency).toBeLessThanOrEqual(0.5);
  expect(imageFigures([ramp]).high_frequency).toBeLessThan(0.01);
  expect(imageFigures([plain(90, 90, 90)]).high_frequency).toBeCloseTo(0, 12);
});

test('of several images they are means', () => {
  const both = imageFigures([plain(0, 0, 0), plain(255, 0, 0)]);
  expect(both.brightness).toBeCloseTo(0.1495, 12);
  expect(both.saturation).toBeCloseTo(0.5, 12);
});
