// Numbers on sheets, from a raster of our own: sharp draws text with the system's fonts, and a bare machine has none.
import type { Image } from './write.js';

const WIDE = 5; // of a glyph; one more parts it from the next
const HIGH = 7;

/** Rows from the top, five bits each. */
const GLYPHS: Record<string, readonly number[]> = {
  '0': [14, 17, 19, 21, 25, 17, 14],
  '1': [4, 12, 4, 4, 4, 4, 14],
  '2': [14, 17, 1, 2, 4, 8, 31],
  '3': [31, 2, 4, 2, 1, 17, 14],
  '4': [2, 6, 10, 18, 31, 2, 2],
  '5': [31, 16, 30, 1, 1, 17, 14],
  '6': [6, 8, 16, 30, 17, 17, 14],
  '7': [31, 1, 2, 4, 8, 8, 8],
  '8': [14, 17, 17, 14, 17, 17, 14],
  '9': [14, 17, 17, 15, 1, 2, 12],
  '.': [0, 0, 0, 0, 0, 12, 12],
  '-': [0, 0, 0, 31, 0, 0, 0],
  '=': [0, 0, 31, 0, 31, 0, 0],
  t: [8, 8, 28, 8, 8, 9, 6],
  n: [0, 0, 22, 25, 17, 17, 17],
  a: [0, 0, 14, 1, 15, 17, 15],
};

/**
 * `text` of the glyphs above, black on white, in the middle of an image of that size: as large as fits in whole
 * multiples up to twice, cut where even once does not. Other characters are blanks.
 */
export function label(text: string, width: number, height: number): Image {
  const pixels = new Uint8Array(width * height * 3).fill(255);
  const length = text.length * (WIDE + 1) - 1;
  const scale = 2 * length <= width && 2 * HIGH <= height ? 2 : 1;
  const left = Math.max(0, Math.floor((width - scale * length) / 2));
  const top = Math.max(0, Math.floor((height - scale * HIGH) / 2));
  for (let y = 0; y < Math.min(scale * HIGH, height - top); y++)
    for (let x = 0; x < Math.min(scale * length, width - left); x++) {
      const column = Math.floor(x / scale);
      const row = GLYPHS[text[Math.floor(column / (WIDE + 1))] as string]?.[Math.floor(y / scale)] ?? 0;
      const bit = WIDE - 1 - (column % (WIDE + 1));
      const at = ((top + y) * width + left + x) * 3;
      if (bit >= 0 && (row >> bit) & 1) pixels.fill(0, at, at + 3);
    }
  return { pixels, width, height };
}
