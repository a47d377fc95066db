// Sheets of images with words: rows under a title, cells above a label.
import sharp from 'sharp';
import { caption } from './label.js';
import type { Image } from './write.js';

export interface SheetRow {
  title?: string;
  /** Undefined: an empty place. */
  cells: readonly ({ image: Image; label?: string } | undefined)[];
}

const GAP = 8;
const LINES = 3;

interface Placed {
  image: Image;
  left: number;
  top: number;
}

const largest = (sizes: readonly (number | undefined)[]): number => Math.max(0, ...sizes.map((size) => size ?? 0));

/** Cells from left to right, `columns` a row; without a number, about a square. */
export function inRows<Value>(cells: readonly Value[], columns = Math.ceil(Math.sqrt(cells.length))): Value[][] {
  const size = Math.max(1, columns);
  return Array.from({ length: Math.ceil(cells.length / size) }, (_, i) => cells.slice(i * size, (i + 1) * size));
}

/** Likewise, as a sheet with the words of each below it. */
export const wordedSheet = (images: readonly Image[], words: readonly string[], columns?: number): Promise<Buffer> =>
  labelledSheet(
    inRows(
      images.map((image, i) => ({ image, label: words[i] ?? '' })),
      columns,
    ).map((cells) => ({ cells })),
  );

/** A PNG. Images may differ in size: a column is as wide as its widest, a row as high as its highest. */
export async function labelledSheet(rows: readonly SheetRow[]): Promise<Buffer> {
  const count = largest(rows.map(({ cells }) => cells.length));
  const widths = Array.from({ length: count }, (_, i) => largest(rows.map(({ cells }) => cells[i]?.image.width)));
  const lefts = widths.map((_, i) => GAP + widths.slice(0, i).reduce((sum, width) => sum + width + GAP, 0));
  const width = Math.max(2 * GAP + 1, GAP + widths.reduce((sum, one) => sum + one + GAP, 0));
  const placed: Placed[] = [];
  let top = GAP;
  const put = (image: Image, left: number) => placed.push({ image, left, top });
  for (const { title, cells } of rows) {
    if (title !== undefined) {
      const words = caption(title, width - 2 * GAP, LINES);
      put(words, GAP);
      top += words.height + GAP / 2;
    }
    for (const [i, cell] of cells.entries()) if (cell) put(cell.image, lefts[i] as number);
    top += largest(cells.map((cell) => cell?.image.height)) + GAP / 2;
    const labels = cells.map((cell, i) =>
      cell?.label === undefined ? undefined : caption(cell.label, widths[i] as number, LINES),
    );
    for (const [i, words] of labels.entries()) if (words) put(words, lefts[i] as number);
    top += largest(labels.map((words) => words?.height)) + GAP / 2;
  }
  return sharp({ create: { width, height: top + GAP / 2, channels: 3, background: '#ffffff' } })
    .composite(
      placed.map(({ image, left, top: at }) => ({
        input: Buffer.from(image.pixels.buffer, image.pixels.byteOffset, image.pixels.byteLength),
        raw: { width: image.width, height: image.height, channels: 3 as const },
        left,
        top: at,
      })),
    )
    .png()
    .toBuffer();
}
