// Figures as people read them.
import { padEnd, padStart, widthOf } from '../text/columns.js';
import { visibleLine } from '../text/visible.js';

type Cells = readonly string[];

/** A mean and its 95 % interval. */
interface Interval {
  mean: number;
  low: number;
  high: number;
}

/** Columns side by side: the first `left` to the left, numbers to the right, two blanks between. */
export function table(titles: Cells, contents: readonly Cells[], left = 1): string {
  const head = titles.map(visibleLine);
  const rows = contents.map((cells) => cells.map(visibleLine));
  const widths = head.map((title, i) => Math.max(widthOf(title), ...rows.map((row) => widthOf(row[i] ?? ''))));
  const line = (cells: Cells) =>
    widths
      .map((width, i) => (i < left ? padEnd(cells[i] ?? '', width) : padStart(cells[i] ?? '', width)))
      .join('  ')
      .trimEnd();
  return [head, ...rows].map(line).join('\n');
}

/** "0.2134 ±0.0034": half the 95 % interval. */
export const plusMinus = ({ mean, low, high }: Interval, digits: number): string =>
  `${mean.toFixed(digits)} ±${((high - low) / 2).toFixed(digits)}`;

/** "82.4 ±4.1", of a share. */
export const percent = ({ mean, low, high }: Interval): string =>
  plusMinus({ mean: 100 * mean, low: 100 * low, high: 100 * high }, 1);

/** Breaks between words, continuation lines indented. */
export function wrapped(text: string, width = 80): string {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && widthOf(last) + 1 + widthOf(word) <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(last === undefined ? word : `  ${word}`);
  }
  return lines.join('\n');
}
