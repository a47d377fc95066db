// Numbers on sheets.
import { expect, test } from 'vitest';
import { label } from '../../cli/image/label.js';

/** As text, a character a pixel, without the margins. */
function seen(text: string, width: number, height: number): string[] {
  const { pixels } = label(text, width, height);
  expect(pixels.length).toBe(width * height * 3);
  const rows = Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => (pixels[(y * width + x) * 3] === 0 ? '#' : ' ')).join(''),
  );
  return rows.map((row) => row.trimEnd()).filter((row) => row !== '');
}

test('glyphs, in the middle', () => {
  expect(seen('-7', 13, 7)).toEqual([
    '       #####',
    '           #',
    '          #',
    ' #####   #',
    '        #',
    '        #',
    '        #',
  ]);
});

test('twice as large where there is room, cut where there is none', () => {
  expect(seen('1', 12, 20).length).toBe(14);
  expect(seen('1', 9, 20).length).toBe(7);
  expect(seen('88888', 7, 3).every((row) => row.length <= 7)).toBe(true);
  expect(seen('?', 20, 20)).toEqual([]);
});

test('all that numbers are written with', () => {
  for (const glyph of '0123456789.-=tna') expect([glyph, seen(glyph, 5, 7).length > 0]).toEqual([glyph, true]);
});
