// Retouched copies: like their image to a person, and apart from it in all that raters look at, for better and worse.
import { expect, test } from 'vitest';
import { meanDifference } from '../../../cli/data/emoji/corruptions.js';
import { standardized } from '../../../cli/data/emoji/population.js';
import { retouch } from '../../../cli/data/emoji/retouch.js';
import { QUALITIES } from '../../../cli/image/qualities.js';
import type { Image } from '../../../cli/image/write.js';
import { PhiloxStream } from '../../../cli/random/philox_stream.js';

/** A red disc beside the middle with a soft edge, on white. */
const disc = (side: number): Image => {
  const inside = (x: number, y: number) => 1 / (1 + Math.exp(Math.hypot(x - 0.55 * side, y - 0.5 * side) - 0.3 * side));
  return {
    pixels: Uint8Array.from({ length: side * side * 3 }, (_, i) => {
      const at = Math.floor(i / 3);
      const share = inside(at % side, Math.floor(at / side));
      return 255 - share * ([35, 215, 195][i % 3] as number);
    }),
    width: side,
    height: side,
  };
};

const copies = (image: Image, count: number) =>
  Array.from({ length: count }, (_, i) => retouch(image, new PhiloxStream(7, 7, i)));

test('the same draws give the same copy, others another', () => {
  const [one, other] = copies(disc(64), 2) as [Image, Image];
  expect(retouch(disc(64), new PhiloxStream(7, 7, 0))).toEqual(one);
  expect(other.pixels).not.toEqual(one.pixels);
});

test.for([64, 128])('copies of %i pixels are like the image and differ in every quality, both ways', (side) => {
  const image = disc(side);
  const before = standardized(image);
  const made = copies(image, 60);
  for (const copy of made) {
    expect(copy).toMatchObject({ width: side, height: side });
    expect(meanDifference(image, copy)).toBeLessThan(20);
  }
  const seen = made.map(standardized);
  for (const quality of QUALITIES) {
    const changes = seen.map((after) => after[quality] - before[quality]);
    expect(changes.filter((change) => change > 0.2).length, quality).toBeGreaterThan(2);
    expect(changes.filter((change) => change < -0.2).length, quality).toBeGreaterThan(2);
  }
});
