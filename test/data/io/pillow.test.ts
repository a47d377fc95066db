// Images of every container as Pillow's convert('RGB') reads or refuses them; see pillow/make.py.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { Drop } from '../../../cli/data/io/drop.js';
import { decodePicture } from '../../../cli/data/io/picture.js';
import { repository } from '../../run_drm.js';

const folder = join(repository, 'test/data/io/pillow');
const EXPECTED = JSON.parse(readFileSync(join(folder, 'EXPECTED.json'), 'utf8')) as Record<
  string,
  { size: [number, number]; sha256: string; pixels?: string } | null
>;
const names = readdirSync(folder).filter((name) => /\.(jpg|png|webp|gif|tif|avif)$/.test(name));

test('every image has its expectation', () => expect(names.sort()).toEqual(Object.keys(EXPECTED).sort()));

test.each(names.filter((name) => EXPECTED[name] && !EXPECTED[name].pixels))('%s, bit for bit', async (name) => {
  const picture = await decodePicture(readFileSync(join(folder, name)));
  if (picture instanceof Drop) throw new Error(picture.detail);
  const { size, sha256 } = EXPECTED[name] as { size: [number, number]; sha256: string };
  expect([picture.width, picture.height]).toEqual(size);
  expect(createHash('sha256').update(picture.pixels).digest('hex')).toBe(sha256);
});

test.each(names.filter((name) => EXPECTED[name] === null))('%s is refused', async (name) => {
  expect(await decodePicture(readFileSync(join(folder, name)))).toMatchObject({ reason: 'undecodable_image' });
});

test.each(names.filter((name) => EXPECTED[name]?.pixels))('%s, to a level', async (name) => {
  const picture = await decodePicture(readFileSync(join(folder, name)));
  if (picture instanceof Drop) throw new Error(picture.detail);
  const { size, pixels = '' } = EXPECTED[name] as { size: [number, number]; pixels?: string };
  expect([picture.width, picture.height]).toEqual(size);
  const pillow = inflateSync(Buffer.from(pixels, 'hex'));
  expect(Math.max(...pillow.map((value, i) => Math.abs(value - (picture.pixels[i] as number))))).toBeLessThanOrEqual(1);
});
