// The contact sheet of a prepared set: thumbnails, captions, and the two files it is written to.
import { join } from 'node:path';
import sharp, { type OverlayOptions } from 'sharp';
import { writeAtomically } from '../../common/files.js';
import type { Image } from '../../image/write.js';
import { escapeXml } from '../../text/xml.js';
import { Drop } from '../io/drop.js';
import { decodeImage } from '../io/image.js';

export const CELL = 128;
export const GAP = 12;
export const LINE = 15;
/** Told apart by place, too: the chosen image is on the left. */
export const CHOSEN = '#2b8a3e';
export const REJECTED = '#c92a2a';
/** Of a captioned image. */
export const LINES = 3;
const LETTERS = 22;

const WIDE = /[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Emoji_Presentation}]/u;
const widthOf = (text: string): number =>
  Array.from(text).reduce((sum, letter) => sum + (WIDE.test(letter) ? 2 : 1), 0);

/** At most so many lines of about so many letters (wide ones count twice); what does not fit ends in an ellipsis. */
export function captionLines(caption: string, most = LINES, letters = LETTERS): string[] {
  const lines = [''];
  const words = caption
    .slice(0, 4 * letters * most)
    .toWellFormed()
    .split(/\s+/)
    .filter(Boolean);
  for (const word of words) {
    let line = lines.at(-1) as string;
    if (line !== '' && widthOf(line) + 1 + widthOf(word) <= letters) line += ` ${word}`;
    else {
      if (line !== '') lines.push('');
      line = '';
      for (const letter of Array.from(word)) {
        if (widthOf(line + letter) > letters) {
          lines[lines.length - 1] = line;
          lines.push('');
          line = '';
        }
        line += letter;
      }
    }
    lines[lines.length - 1] = line;
  }
  if (lines.length <= most) return lines;
  return [
    ...lines.slice(0, most - 1),
    `${Array.from(lines[most - 1] as string)
      .slice(0, letters - 1)
      .join('')}…`,
  ];
}

export interface Thumbnail {
  png: Buffer;
  width: number;
  height: number;
}

/** As it is, doubled while it stays within the cell, or reduced into it. */
export async function thumbnail({ pixels, width, height }: Image): Promise<Thumbnail> {
  const times = Math.floor(CELL / Math.max(width, height));
  const scale = times >= 1 ? times : CELL / Math.max(width, height);
  const to = { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
  const png = await sharp(pixels, { raw: { width, height, channels: 3 } })
    .resize({ ...to, fit: 'fill', kernel: times >= 1 ? 'nearest' : 'cubic' })
    .png()
    .toBuffer();
  return { png, ...to };
}

/** Where a thumbnail goes in the cell whose corner is given. */
export const centred = (image: Thumbnail, left: number, top: number): OverlayOptions => ({
  input: image.png,
  left: left + Math.floor((CELL - image.width) / 2),
  top: top + Math.floor((CELL - image.height) / 2),
});

/** Where the cells of a sheet are, and how large that makes it. */
export function gridOf(
  count: number,
  { columns: most, width, height, top = GAP }: { columns: number; width: number; height: number; top?: number },
) {
  const columns = Math.min(most, count);
  return {
    width: GAP + columns * (width + GAP),
    height: top + Math.ceil(count / columns) * (height + GAP),
    place: (n: number) => ({
      left: GAP + (n % columns) * (width + GAP),
      top: top + Math.floor(n / columns) * (height + GAP),
    }),
  };
}

/** Lines of text, centred at `x`, the first one below `top`; SVG. */
export const linesAt = (lines: readonly string[], x: number, top: number): string[] =>
  lines.map((line, row) => `<text x="${x}" y="${top + (row + 1) * LINE - 3}">${escapeXml(line)}</text>`);

/** The image as it is on a sheet; undefined for a file that cannot be decoded. */
export async function thumbnailOf(file: Uint8Array): Promise<Thumbnail | undefined> {
  const decoded = await decodeImage(file);
  return decoded instanceof Drop ? undefined : thumbnail(decoded);
}

export interface SheetFiles {
  png: string;
  html: string;
  width: number;
  height: number;
}

/** Writes contact-sheet.png, thumbnails with the SVG elements `drawn` over them, and contact-sheet.html; gives their paths. */
export async function writeSheet(
  out: string,
  { width, height, images, drawn }: { width: number; height: number; images: OverlayOptions[]; drawn: string[] },
  page: string,
): Promise<SheetFiles> {
  const overlay = Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="11" fill="#333" text-anchor="middle">${drawn.join('')}</svg>`,
  );
  const sheet = await sharp({ create: { width, height, channels: 3, background: '#f2f2f2' } })
    .composite([...images, { input: overlay, left: 0, top: 0 }])
    .png()
    .toBuffer();
  const png = join(out, 'contact-sheet.png');
  const html = join(out, 'contact-sheet.html');
  await writeAtomically(png, sheet);
  await writeAtomically(html, page);
  return { png, html, width, height };
}

/** An element of the page: `images` are its HTML, `details` show when the pointer rests on it. */
export function figureOf(images: string, text: string, details: string[]): string {
  const shown = text.length > 2000 ? `${text.slice(0, 2000)}… (${text.length} letters)` : text;
  return `<figure title="${escapeXml(details.join('\n').slice(0, 2000))}">${images}<figcaption>${escapeXml(shown)}</figcaption></figure>`;
}

/** A sidecar's fields, one a line. */
export const detailsOf = (fields: Record<string, unknown>): string[] =>
  Object.entries(fields).map(([key, value]) => `${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`);

export const embedded = (image: Thumbnail, alt: string, attributes = ''): string =>
  `<img ${attributes}src="data:image/png;base64,${image.png.toString('base64')}" width="${image.width}" height="${image.height}" alt="${alt}">`;

/** A page that needs nothing else; `edge` is the least width of a figure. */
export function pageOf(folder: string, text: string, note: string, figures: string[], edge = CELL + 16): string {
  const name = escapeXml(folder);
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${name}</title>
<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; background: #f2f2f2 }
pre { white-space: pre-wrap }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(${edge}px, 1fr)); gap: 12px }
figure { margin: 0; text-align: center; overflow-wrap: anywhere }
img { image-rendering: pixelated; max-width: 100% }
img.chosen { border-bottom: 4px solid ${CHOSEN} }
img.rejected { border-bottom: 4px solid ${REJECTED} }
figcaption { font-size: 12px; max-height: 8rem; overflow: auto }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #1c1c1c } }
</style>
<h1>${name}</h1>
<pre>${escapeXml(text)}</pre>
<p>${note}</p>
<main>
${figures.join('\n')}
</main></html>
`;
}
