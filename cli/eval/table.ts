// Figures as people read them.
import type { Estimate } from './bootstrap.js';

/** Columns side by side: the first to the left, numbers to the right, two blanks between. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => (row[i] ?? '').length)));
  const line = (cells: readonly string[]) =>
    widths
      .map((width, i) => (i === 0 ? (cells[i] ?? '').padEnd(width) : (cells[i] ?? '').padStart(width)))
      .join('  ')
      .trimEnd();
  return [head, ...rows].map(line).join('\n');
}

/** "0.2134 ±0.0034": half the 95 % interval. */
export const plusMinus = ({ mean, low, high }: Estimate, digits: number): string =>
  `${mean.toFixed(digits)} ±${((high - low) / 2).toFixed(digits)}`;

/** "82.4 ±4.1", of a share. */
export const percent = ({ mean, low, high }: Estimate): string =>
  plusMinus({ mean: 100 * mean, low: 100 * low, high: 100 * high, n: 0 }, 1);
