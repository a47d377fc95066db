// Images of every container as Pillow's convert('RGB') reads or refuses them; see pillow/make.py.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { Drop } from '../../../cli/data/io/drop.js';
import { decodeImage } from '../../../cli/data/io/image.js';
import { repository } from '../../run_drm.js';

const folder = join(repository, 'test/data/io/pillow');
const EXPECTED = JSON.parse(readFileSync(join(folder, 'EXPECTED.json'), 'utf8')) as Record<
  string,
  { size: [number, number]; sha256: string; pixels?: string } | null
>;
const names = readdirSync(folder).filter((name) => /\.(jpg|png|webp|gif|tif|avif)$/.test(name));

test('every image has its expectation', () => expect(names.sort()).toEqual(Object.keys(EXPECTED).sort()));

test.each(names.filter((name) => EXPECTED[name] && !EXPECTED[name].pixels))('%s, bit for bit', async (name) => {
  const image = await decodeImage(readFileSync(join(folder, name)));
  if (image instanceof Drop) throw new Error(image.detail);
  const { size, sha256 } = EXPECTED[name] as { size: [number, number]; sha256: string };
  expect([image.width, image.height]).toEqual(size);
  expect(createHash('sha256').update(image.pixels).digest('hex')).toBe(sha256);
});

test.each(names.filter((name) => EXPECTED[name] === null))('%s is refused', async (name) => {
  expect(await decodeImage(readFileSync(join(folder, name)))).toMatchObject({ reason: 'undecodable_image' });
});

test.each(names.filter((name) => EXPECTED[name]?.pixels))('%s, to a level', async (name) => {
  const image = await decodeImage(readFileSync(join(folder, name)));
  if (image instanceof Drop) throw new Error(image.detail);
  const { size, pixels = '' } = EXPECTED[name] as { size: [number, number]; pixels?: string };
  expect([image.width, image.height]).toEqual(size);
  const pillow = inflateSync(Buffer.from(pixels, 'hex'));
  expect(Math.max(...pillow.map((value, i) => Math.abs(value - (image.pixels[i] as number))))).toBeLessThanOrEqual(1);
});
