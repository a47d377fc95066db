// What is in a prepared set of captioned pictures: figures, and a contact sheet to look at. Pairs: inspect_pairs.ts.
import { join } from 'node:path';
import sharp from 'sharp';
import { writeAtomically } from '../files.js';
import type { Picture } from '../image/write.js';
import type { CaptionedSet } from './captioned_set.js';
import { epochOrder } from './order.js';
import { decodePicture } from './picture.js';
import { Drop } from './source.js';

/** Of a larger set so many pictures are opened for the figures about sizes, chosen by seed. */
export const OPENED = 20_000;
/** A field of the sidecars with more values than this is a description, not a kind. */
export const MOST_KINDS = 40;

export interface Spread {
  least: number;
  median: number;
  mean: number;
  most: number;
}

export interface Inspection {
  folder: string;
  samples: number;
  bytes: number;
  records: number;
  dropped: Record<string, number>;
  splits: Record<string, number>;
  /** Field of the sidecars -> value -> samples, most frequent first. */
  kinds: Record<string, Record<string, number>>;
  captions: { distinct: number; characters: Spread; words: Spread };
  pictures: {
    opened: number;
    width: Spread;
    height: Spread;
    bytes: Spread;
    formats: Record<string, number>;
    bad: string[];
  };
}

export function spreadOf(values: ArrayLike<number>): Spread {
  const sorted = Float64Array.from(values).sort();
  const sum = sorted.reduce((total, value) => total + value, 0);
  return {
    least: sorted[0] ?? 0,
    median: sorted[sorted.length >> 1] ?? 0,
    mean: sorted.length > 0 ? sum / sorted.length : 0,
    most: sorted.at(-1) ?? 0,
  };
}

export const byCount = (counts: Map<string, number>): Record<string, number> =>
  Object.fromEntries([...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)));

export const add = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1);

/** The kinds among the sidecars' fields: texts of few values, each field on its own. */
async function kindsOf(set: CaptionedSet, signal: AbortSignal): Promise<Inspection['kinds']> {
  const fields = new Map<string, Map<string, number>>();
  const ruledOut = new Set(['caption', 'split']);
  for (let i = 0; i < set.length; i++) {
    signal.throwIfAborted();
    for (const [field, value] of Object.entries(await set.meta(i))) {
      if (typeof value !== 'string' || ruledOut.has(field)) continue;
      const counts = fields.get(field) ?? new Map<string, number>();
      fields.set(field, counts);
      add(counts, value);
      if (counts.size > MOST_KINDS) {
        fields.delete(field);
        ruledOut.add(field);
      }
    }
  }
  // As many values as samples describe each one, however few there are.
  return Object.fromEntries(
    [...fields]
      .filter(([, counts]) => counts.size < Math.max(2, set.length))
      .map(([field, counts]) => [field, byCount(counts)]),
  );
}

export async function inspectSet(
  set: CaptionedSet,
  seed: number,
  signal: AbortSignal,
  onProgress: (done: number, total: number) => void,
): Promise<Inspection> {
  const captions = Array.from({ length: set.length }, (_, i) => set.caption(i));
  const splits = new Map<string, number>();
  for (let i = 0; i < set.length; i++) add(splits, set.shardOf(i).split);
  const chosen = Array.from(epochOrder(seed, 0, set.length).subarray(0, OPENED)).sort((a, b) => a - b);
  const widths: number[] = [];
  const heights: number[] = [];
  const formats = new Map<string, number>();
  const bad: string[] = [];
  const queue = chosen.entries();
  const worker = async () => {
    for (const [done, i] of queue) {
      signal.throwIfAborted();
      const picture = await decodePicture(await set.bytes(i));
      if (picture instanceof Drop) bad.push(`${set.key(i)}: ${picture.detail}`);
      else {
        widths.push(picture.width);
        heights.push(picture.height);
        add(formats, picture.extension);
      }
      onProgress(done + 1, chosen.length);
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  return {
    folder: set.folder,
    samples: set.length,
    bytes: set.shards.reduce((sum, shard) => sum + shard.bytes, 0),
    records: set.manifest.records,
    dropped: set.manifest.dropped,
    splits: Object.fromEntries([...splits].sort(([a], [b]) => (a < b ? -1 : 1))),
    kinds: await kindsOf(set, signal),
    captions: {
      distinct: new Set(captions).size,
      characters: spreadOf(captions.map((caption) => Array.from(caption).length)),
      words: spreadOf(captions.map((caption) => caption.split(/\s+/).filter(Boolean).length)),
    },
    pictures: {
      opened: chosen.length,
      width: spreadOf(widths),
      height: spreadOf(heights),
      bytes: spreadOf(Array.from({ length: set.length }, (_, i) => set.size(i))),
      formats: byCount(formats),
      bad: bad.sort(),
    },
  };
}

export const figure = (value: number, digits = 1): string =>
  Number.isInteger(value) ? String(value) : value.toFixed(digits);
export const range = ({ least, median, mean, most }: Spread, digits = 1): string => {
  const of = (value: number) => figure(value, digits);
  return `${of(least)} to ${of(most)}, median ${of(median)}, mean ${of(mean)}`;
};
export const list = (counts: Record<string, number>): string =>
  Object.entries(counts)
    .map(([key, count]) => `${key.replaceAll('_', ' ')} ${count}`)
    .join(' · ');

export function inspectionText(found: Inspection): string {
  const { captions, pictures } = found;
  const rows: [string, string][] = [
    ['samples', `${found.samples} of ${found.records} records, ${(found.bytes / 1e6).toFixed(1)} MB`],
    ...(Object.keys(found.dropped).length > 0 ? [['dropped', list(found.dropped)] as [string, string]] : []),
    ['splits', list(found.splits)],
    ...Object.entries(found.kinds).map(([field, counts]): [string, string] => [field, list(counts)]),
    ['captions', `${captions.distinct} distinct`],
    ['  characters', range(captions.characters)],
    ['  words', range(captions.words)],
    [
      'pictures',
      `${list(pictures.formats)}${pictures.opened < found.samples ? ` (of ${pictures.opened} opened)` : ''}${pictures.bad.length > 0 ? `, ${pictures.bad.length} bad` : ''}`,
    ],
    ['  width', range(pictures.width)],
    ['  height', range(pictures.height)],
    ['  bytes', range(pictures.bytes)],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, text]) => `${name.padEnd(width)}  ${text}`).join('\n');
}

export const CELL = 128;
export const GAP = 12;
const COLUMNS = 8;
export const LINE = 15;
/** Told apart by place, too: the chosen picture is on the left. */
export const CHOSEN = '#2b8a3e';
export const REJECTED = '#c92a2a';
const LINES = 3;
const LETTERS = 22;

/** Letters that XML forbids break the drawing of the sheet; the others are escaped. */
export const escapeXml = (text: string): string =>
  text
    .toWellFormed()
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd')
    .replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);

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
export async function thumbnail({ pixels, width, height }: Picture): Promise<Thumbnail> {
  const times = Math.floor(CELL / Math.max(width, height));
  const scale = times >= 1 ? times : CELL / Math.max(width, height);
  const to = { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
  const png = await sharp(pixels, { raw: { width, height, channels: 3 } })
    .resize({ ...to, fit: 'fill', kernel: times >= 1 ? 'nearest' : 'cubic' })
    .png()
    .toBuffer();
  return { png, ...to };
}

/** Writes contact-sheet.png and contact-sheet.html; gives their paths. */
export async function writeContactSheet(
  set: CaptionedSet,
  found: Inspection,
  out: string,
  { count, seed }: { count: number; seed: number },
): Promise<{ png: string; html: string; width: number; height: number }> {
  const indices = Array.from(epochOrder(seed, 0, set.length).subarray(0, count));
  const cells = await Promise.all(
    indices.map(async (i) => {
      const picture = await decodePicture(await set.bytes(i));
      return {
        i,
        caption: set.caption(i),
        meta: await set.meta(i),
        image: picture instanceof Drop ? undefined : await thumbnail(picture),
      };
    }),
  );
  const columns = Math.min(COLUMNS, cells.length);
  const width = GAP + columns * (CELL + GAP);
  const rowHeight = CELL + LINES * LINE + GAP;
  const height = GAP + Math.ceil(cells.length / columns) * rowHeight;
  const place = (n: number) => ({
    left: GAP + (n % columns) * (CELL + GAP),
    top: GAP + Math.floor(n / columns) * rowHeight,
  });
  const texts = cells.flatMap(({ caption }, n) => {
    const { left, top } = place(n);
    return captionLines(caption).map(
      (line, row) => `<text x="${left + CELL / 2}" y="${top + CELL + (row + 1) * LINE - 3}">${escapeXml(line)}</text>`,
    );
  });
  const captions = Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="11" fill="#333" text-anchor="middle">${texts.join('')}</svg>`,
  );
  const sheet = await sharp({ create: { width, height, channels: 3, background: '#f2f2f2' } })
    .composite([
      ...cells.flatMap(({ image }, n) => {
        const { left, top } = place(n);
        if (!image) return [];
        return [
          {
            input: image.png,
            left: left + Math.floor((CELL - image.width) / 2),
            top: top + Math.floor((CELL - image.height) / 2),
          },
        ];
      }),
      { input: captions, left: 0, top: 0 },
    ])
    .png()
    .toBuffer();
  const png = join(out, 'contact-sheet.png');
  const html = join(out, 'contact-sheet.html');
  await writeAtomically(png, sheet);
  await writeAtomically(html, page(set, found, cells, seed));
  return { png, html, width, height };
}

function page(
  set: CaptionedSet,
  found: Inspection,
  cells: {
    i: number;
    caption: string;
    meta: Record<string, unknown>;
    image: Thumbnail | undefined;
  }[],
  seed: number,
): string {
  const figures = cells.map(({ i, caption, meta, image }) => {
    const { caption: _, ...rest } = meta;
    const details = Object.entries(rest).map(
      ([key, value]) => `${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`,
    );
    const shown = image
      ? `<img src="data:image/png;base64,${image.png.toString('base64')}" width="${image.width}" height="${image.height}" alt="">`
      : '<p>cannot be decoded</p>';
    const text = caption.length > 2000 ? `${caption.slice(0, 2000)}… (${caption.length} letters)` : caption;
    return `<figure title="${escapeXml([set.key(i), ...details].join('\n').slice(0, 2000))}">${shown}<figcaption>${escapeXml(text)}</figcaption></figure>`;
  });
  return pageOf(
    set.folder,
    inspectionText(found),
    `${cells.length} samples, chosen by seed ${seed}; details show when the pointer rests on a picture.`,
    figures,
  );
}

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
