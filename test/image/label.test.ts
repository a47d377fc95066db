// Words on sheets.
import { expect, test } from 'vitest';
import { caption, label } from '../../cli/image/label.js';

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
  expect(seen(' ', 20, 20)).toEqual([]);
});

test('every letter of ASCII has a glyph of its own; accents are left out, others are boxes', () => {
  const all = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));
  const pixels = (letter: string) => label(letter, 5, 7).pixels.join();
  expect(new Set([...all, '雨'].map(pixels)).size).toBe(95);
  expect(seen('é', 5, 7)).toEqual(seen('e', 5, 7));
});

test('captions break between words, and say where they were cut', () => {
  const lines = (text: string, width: number, most: number) => caption(text, width, most).height / 9;
  expect(lines('a red fox', 60, 3)).toBe(1);
  expect(lines('a red fox asleep', 60, 3)).toBe(2);
  expect(lines('extraordinarily', 29, 9)).toBe(3);
  expect(lines('one two three four five six', 29, 2)).toBe(2);
  expect(caption('one two', 17, 1).pixels).toEqual(caption('on…', 17, 1).pixels);
});

test('all that numbers are written with', () => {
  for (const glyph of '0123456789.-=tna') expect([glyph, seen(glyph, 5, 7).length > 0]).toEqual([glyph, true]);
});
