// Corruption on purpose: graded, seeded, and never nothing.
import { expect, test } from 'vitest';
import { CORRUPTIONS, corrupt, GRADES, meanDifference } from '../../../cli/data/emoji/corruptions.js';
import { drawEmoji, emojiImages, listEmoji } from '../../../cli/data/emoji/emoji.js';
import { Drop } from '../../../cli/data/io/drop.js';
import { decodeImage } from '../../../cli/data/io/image.js';
import type { Image } from '../../../cli/image/write.js';
import { PhiloxStream } from '../../../cli/random/philox_stream.js';

const images = emojiImages(listEmoji().concepts);

async function emoji(key: string): Promise<Image> {
  const found = images.find((image) => image.key === key);
  const decoded = found ? await decodeImage(await drawEmoji(found, 64)) : undefined;
  if (!decoded || decoded instanceof Drop) throw new Error(`no ${key}`);
  return decoded;
}

const flat = (value: number, width = 9, height = 5): Image => ({
  pixels: new Uint8Array(width * height * 3).fill(value),
  width,
  height,
});

test.each(CORRUPTIONS)(
  '%s: each grade changes more than the one before; the same draws, the same image',
  async (kind) => {
    for (const key of ['red-apple_noto', 'snowman_twemoji', 'grinning-face_fluent']) {
      const clean = await emoji(key);
      const before = Uint8Array.from(clean.pixels);
      const changes: number[] = [];
      for (const grade of GRADES) {
        const worse = await corrupt(clean, kind, grade, new PhiloxStream(3, 1, 7));
        expect([worse.width, worse.height, worse.pixels.length]).toEqual([64, 64, 64 * 64 * 3]);
        expect(await corrupt(clean, kind, grade, new PhiloxStream(3, 1, 7))).toEqual(worse);
        changes.push(meanDifference(clean, worse));
      }
      expect(Uint8Array.from(clean.pixels)).toEqual(before);
      expect(changes).toEqual([...changes].sort((a, b) => a - b));
      expect(changes[0]).toBeGreaterThan(0.3);
      expect(changes[4]).toBeGreaterThan(3 * (changes[0] as number));
    }
  },
);

test('what is drawn decides where and how', async () => {
  const clean = await emoji('red-apple_noto');
  for (const kind of ['noise', 'erase', 'warp'] as const) {
    const first = await corrupt(clean, kind, 3, new PhiloxStream(0, 1, 0));
    const differing = [
      new PhiloxStream(1, 1, 0),
      new PhiloxStream(0, 2, 0),
      new PhiloxStream(0, 1, 1),
      new PhiloxStream(0, 1, 0, 1),
    ];
    for (const draws of differing) expect(await corrupt(clean, kind, 3, draws)).not.toEqual(first);
  }
});

test('images of one colour: what can be seen on them is changed all the same', async () => {
  for (const value of [0, 255, 128])
    for (const grade of GRADES)
      for (const kind of ['colour', 'erase', 'noise'] as const)
        expect(
          meanDifference(flat(value), await corrupt(flat(value), kind, grade, new PhiloxStream(0, 0, grade))),
        ).toBeGreaterThan(0);
  // Blurred, bent or coded, one colour stays itself.
  expect((await corrupt(flat(200), 'blur', 5, new PhiloxStream(0, 0, 0))).pixels).toEqual(flat(200).pixels);
  expect((await corrupt(flat(200), 'warp', 5, new PhiloxStream(0, 0, 0))).pixels).toEqual(flat(200).pixels);
});

test('blur keeps the mean away from the edges, and reaches as far as its deviation says', async () => {
  const dot = flat(0, 65, 65);
  dot.pixels.fill(255, 3 * (32 * 65 + 32), 3 * (32 * 65 + 32) + 3);
  for (let y = 24; y < 41; y++)
    for (let x = 24; x < 41; x++) dot.pixels.fill(255, 3 * (65 * y + x), 3 * (65 * y + x) + 3);
  const { pixels } = await corrupt(dot, 'blur', 5, new PhiloxStream(0, 0, 0));
  const sum = (values: Uint8Array) => values.reduce((total, value) => total + value, 0);
  expect(sum(pixels) / sum(dot.pixels)).toBeCloseTo(1, 2);
  const at = (x: number) => pixels[3 * (32 * 65 + x)] as number;
  // The edge of a large square becomes the Gaussian's distribution function: half at the edge, 16 % one deviation out.
  const deviation = (2.2 * 65) / 64;
  expect((at(40) + at(41)) / 2 / 255).toBeCloseTo(0.5, 1);
  expect(at(Math.round(40.5 + deviation)) / 255).toBeGreaterThan(0.08);
  expect(at(Math.round(40.5 + deviation)) / 255).toBeLessThan(0.2);
  expect(at(Math.round(40.5 + 4 * deviation))).toBe(0);
});

test('erasing takes the share that its grade says of the image, and puts the background there', async () => {
  const square = flat(255, 64, 64);
  for (let y = 8; y < 56; y++) square.pixels.fill(30, 3 * (64 * y + 8), 3 * (64 * y + 56));
  const gone = async (grade: 1 | 5) => {
    const { pixels } = await corrupt(square, 'erase', grade, new PhiloxStream(0, 0, 5));
    let count = 0;
    for (const [i, value] of pixels.entries()) if (value !== square.pixels[i]) count += 1;
    expect(pixels.every((value, i) => value === 255 || value === square.pixels[i])).toBe(true);
    return count / pixels.length;
  };
  expect(await gone(1)).toBeCloseTo(0.015, 2);
  expect(await gone(5)).toBeCloseTo(0.3, 1);
});

test('draws: uniform, fair and normal', () => {
  const draws = new PhiloxStream(5, 6, 7);
  const uniform = Array.from({ length: 4000 }, () => draws.uniform());
  expect(Math.min(...uniform)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...uniform)).toBeLessThan(1);
  const counts = [0, 0, 0];
  for (let i = 0; i < 3000; i++) counts[draws.below(3)] = (counts[draws.below(3)] ?? 0) + 1;
  for (let i = 0, again = new PhiloxStream(5, 6, 8); i < 3; i++) expect(again.below(1)).toBe(0);
  const normal = Array.from({ length: 4000 }, () => draws.normal());
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  expect(mean(uniform)).toBeCloseTo(0.5, 1);
  expect(Math.abs(mean(normal))).toBeLessThan(0.06);
  expect(Math.abs(mean(normal.map((value) => value ** 2)) - 1)).toBeLessThan(0.1);
  expect(normal.filter((value) => Math.abs(value) > 1.96).length / 4000).toBeCloseTo(0.05, 1);
  expect(() => draws.pick([])).toThrow(RangeError);
});
