// PNGs: texts inside, names of files.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { addText, readText } from '../../cli/image/png_text.js';
import { slug, writeImage } from '../../cli/image/write.js';
import { temporaryFolder } from '../run_drm.js';

const png = () =>
  sharp({ create: { width: 3, height: 2, channels: 3, background: 'red' } })
    .png()
    .toBuffer();

test('text in PNGs survives, whatever it says', async () => {
  const texts = { parameters: 'ünïcode 🦊\nline', drm: JSON.stringify({ long: 'x'.repeat(100_000) }) };
  const made = addText(await png(), texts);
  expect(readText(made)).toMatchObject(texts);
  expect((await sharp(made).metadata()).width).toBe(3);
});

test('files that are no PNG, or a broken one, are refused', async () => {
  const good = addText(await png(), { a: 'b' });
  for (const bad of [Buffer.alloc(0), Buffer.from('GIF89a'), good.subarray(0, 20), good.subarray(0, -4)])
    expect(() => readText(bad)).toThrow(/\[png\]/);
  const flipped = Buffer.from(good);
  flipped[20] = (flipped[20] ?? 0) ^ 1;
  expect(() => readText(flipped)).toThrow(/checksum/);
});

test('images are never overwritten by different ones', async () => {
  const folder = temporaryFolder();
  const first = await png();
  const second = addText(first, { a: 'b' });
  expect(await writeImage(folder, 'x', first)).toBe(join(folder, 'x.png'));
  expect(await writeImage(folder, 'x', first)).toBe(join(folder, 'x.png'));
  expect(await writeImage(folder, 'x', second)).toBe(join(folder, 'x-2.png'));
  expect(readFileSync(join(folder, 'x.png')).equals(first)).toBe(true);
});

test('slugs are file names', () => {
  expect(slug('A red fox!')).toBe('a-red-fox');
  expect(slug('../../etc/passwd')).toBe('etc-passwd');
  expect(slug('狐 🦊')).toBe('狐');
  expect(slug('???')).toBe('image');
  expect(slug('word '.repeat(100)).length).toBeLessThanOrEqual(40);
});
