// Words on sheets, from a raster of our own: sharp draws text with the system's fonts, and a bare machine has none.
import type { Image } from './write.js';

const WIDE = 5; // of a glyph; one more parts it from the next
const HIGH = 7;
const LEADING = 2;

/** Each letter with its rows from the top, five bits a digit (0 to v). */
const RASTER = [
  '0ehjlphe 14c4444e 2eh1248v 3v2421he 426aiv22 5vgu11he 668guhhe 7v124888 8ehhehhe 9ehhf12c',
  'Aehhvhhh Buhhuhhu Cehggghe Duhhhhhu Evgguggv Fvgguggg Gehgnhhf Hhhhvhhh Ie44444e J72222ic Khikokih Lggggggv Mhrllhhh',
  'Nhhpljhh Oehhhhhe Puhhuggg Qehhhlid Ruhhukih Sfgge11u Tv444444 Uhhhhhhe Vhhhhha4 Whhhllla Xhha4ahh Yhhha444 Zv1248gv',
  'a00e1fhf bggmphhu c00egghe d11djhhf e00ehvge f698s888 g0fhhf1e hggmphhh i40c444e j20622ic kggikoki lc44444e m00qllhh',
  'n00mphhh o00ehhhe p00uhugg q00djf11 r00mpggg s00ege1u t88s8896 u00hhhjd v00hhha4 w00hhlla x00ha4ah y00hhf1e z00v248v',
  '.00000cc -000v000 =00v0v00 ,0000c48 :0cc0cc0 ;0cc0c48 \'c480000 "aaa0000 !4444004 ?eh12404 (2488842 )8422248 /01248g0',
  '+044v440 *04lel40 _000000v %op248j3 &cik8lid #aavavaa @eh1dlle [e88888e ]e22222e <248g842 >8421248 |4444444 ~008l200',
  '\\0g84210 ^4ah0000 $4fke5u4 {2448442 }8442448 `8420000 ·000cc00 …00000l0 ×0ha4ah0',
].join(' ');

const GLYPHS = new Map(
  RASTER.split(' ').map((glyph) => [
    glyph[0] as string,
    Array.from(glyph.slice(1), (digit) => Number.parseInt(digit, 32)),
  ]),
);

/** Of a letter that has none. */
const UNKNOWN = [31, 17, 17, 17, 17, 17, 31];

/** As far as there are glyphs: é as e. */
const plain = (text: string): string[] =>
  Array.from(text.replaceAll('…', '\0').normalize('NFKD').replace(/\p{M}/gu, '').replaceAll('\0', '…'));

const blank = (width: number, height: number): Image => ({
  pixels: new Uint8Array(width * height * 3).fill(255),
  width,
  height,
});

/** Black letters, cut at the image's edges. */
function draw(
  { pixels, width, height }: Image,
  letters: readonly string[],
  left: number,
  top: number,
  scale: number,
): void {
  const length = letters.length * (WIDE + 1) - 1;
  for (let y = 0; y < Math.min(scale * HIGH, height - top); y++)
    for (let x = 0; x < Math.min(scale * length, width - left); x++) {
      const column = Math.floor(x / scale);
      const letter = letters[Math.floor(column / (WIDE + 1))] as string;
      const row = letter === ' ' ? 0 : ((GLYPHS.get(letter) ?? UNKNOWN)[Math.floor(y / scale)] ?? 0);
      const bit = WIDE - 1 - (column % (WIDE + 1));
      const at = ((top + y) * width + left + x) * 3;
      if (bit >= 0 && (row >> bit) & 1) pixels.fill(0, at, at + 3);
    }
}

/** One line, in the middle of an image of that size: as large as fits in whole multiples up to twice. */
export function label(text: string, width: number, height: number): Image {
  const image = blank(width, height);
  const letters = plain(text);
  const length = letters.length * (WIDE + 1) - 1;
  const scale = 2 * length <= width && 2 * HIGH <= height ? 2 : 1;
  const left = Math.max(0, Math.floor((width - scale * length) / 2));
  draw(image, letters, left, Math.max(0, Math.floor((height - scale * HIGH) / 2)), scale);
  return image;
}

/** Text of that width, broken between words, from the left; what `most` lines do not hold is cut, and says so. */
export function caption(text: string, width: number, most: number): Image {
  const scale = width >= 480 ? 2 : 1;
  const room = Math.max(1, Math.floor((width / scale + 1) / (WIDE + 1)));
  const lines: string[][] = [];
  for (const word of text.trim().split(/\s+/).map(plain)) {
    const last = lines.at(-1);
    if (last && last.length + 1 + word.length <= room) last.push(' ', ...word);
    else for (let at = 0; at < Math.max(1, word.length); at += room) lines.push(word.slice(at, at + room));
  }
  const shown = lines.slice(0, most);
  const end = shown.at(-1);
  if (end && lines.length > most) end.splice(Math.min(end.length, room - 1), Number.POSITIVE_INFINITY, '…');
  const image = blank(width, Math.max(1, shown.length) * scale * (HIGH + LEADING));
  for (const [i, line] of shown.entries()) draw(image, line, 0, i * scale * (HIGH + LEADING), scale);
  return image;
}
