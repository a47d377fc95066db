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

/** "82.4 % (78.1-86.3)" */
export const percent = ({ mean, low, high }: Estimate): string =>
  `${(100 * mean).toFixed(1)} % (${(100 * low).toFixed(1)}-${(100 * high).toFixed(1)})`;

/** "0.2134 (0.2101-0.2169)" */
export const interval = ({ mean, low, high }: Estimate, digits = 4): string =>
  `${mean.toFixed(digits)} (${low.toFixed(digits)}-${high.toFixed(digits)})`;
