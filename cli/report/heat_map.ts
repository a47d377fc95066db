// A figure of each denoising step over the whole training: steps down, updates across, the value as a depth of colour.
import { scaleQuantize } from 'd3-scale';
import { average } from '../eval/bootstrap.js';
import { escapeXml } from '../text/xml.js';
import { extentOf, linearAxis } from '../ui/axis.js';
import { shortNumber } from '../ui/figures.js';
import { tableHtml } from './chart.js';
import { type Curve, curveOf, type Group, valueAt } from './groups.js';

/** Depths of colour in the style sheet. */
export const DEPTHS = 8;
const COLUMNS = 44;
const SIZE = { width: 440, left: 54, right: 12, top: 6, bottom: 40 };
/** All rows together are about so high. */
const HEIGHT = 170;
/** Positive values that span more than this are coloured by their logarithm. */
const LOG_SPAN = 100;

interface Rows {
  group: Group;
  /** Denoising steps, in order. */
  steps: { step: number; curve: Curve }[];
  /** Of the updates. */
  last: number;
  /** values[row][column]; NaN where there is none. */
  values: number[][];
}

function rowsOf(group: Group, name: string, steps: readonly number[]): Rows | undefined {
  const curves = steps
    .map((step) => ({ step, curve: curveOf(group, 'metrics', `${name}/${step}`, 'updates') }))
    .filter(({ curve }) => curve.points.length > 0);
  if (curves.length === 0) return undefined;
  const last = Math.max(1, ...curves.map(({ curve }) => curve.points.at(-1)?.x ?? 0));
  const columns = Math.max(1, Math.min(COLUMNS, ...curves.map(({ curve }) => curve.points.length)));
  const values = curves.map(({ curve }) =>
    Array.from({ length: columns }, (_, column) => {
      const [from, to] = [(column / columns) * last, ((column + 1) / columns) * last];
      const inside = curve.points.filter(({ x, y }) => x > from && x <= to && Number.isFinite(y)).map(({ y }) => y);
      return inside.length > 0 ? average(inside) : (valueAt(curve.points, (from + to) / 2) ?? Number.NaN);
    }),
  );
  return { group, steps: curves, last, values };
}

/** Places values among the depths of colour, the same for all maps of a figure. */
function depths(values: readonly number[]): { of(value: number): number; low: number; high: number; log: boolean } {
  const [low, high] = extentOf(values.filter(Number.isFinite));
  const log = low > 0 && high / low > LOG_SPAN;
  const place = log ? Math.log : (value: number) => value;
  const depth = scaleQuantize(
    [place(low), place(high)],
    Array.from({ length: DEPTHS }, (_, i) => i),
  );
  const of = (value: number) => (high > low ? depth(place(value)) : 0);
  return { of, low, high, log };
}

function map({ steps, last, values }: Rows, depth: (value: number) => number, title: string): string {
  const columns = values[0]?.length ?? 1;
  const width = (SIZE.width - SIZE.left - SIZE.right) / columns;
  const row = Math.max(5, Math.min(22, HEIGHT / steps.length));
  const bottom = SIZE.top + row * steps.length;
  // One path a depth: a rectangle a cell would be most of the page.
  const paths = Array.from({ length: DEPTHS }, () => '');
  for (const [j, line] of values.entries())
    for (const [i, value] of line.entries())
      if (Number.isFinite(value)) {
        const x = (SIZE.left + i * width).toFixed(1);
        paths[depth(value)] +=
          `M${x} ${(SIZE.top + j * row).toFixed(1)}h${(width + 0.3).toFixed(1)}v${(row - 0.5).toFixed(1)}h-${(width + 0.3).toFixed(1)}z`;
      }
  const every = Math.ceil(14 / row);
  const out = paths.map((path, i) => (path === '' ? '' : `<path class="h${i}" d="${path}"/>`));
  for (const [j, { step }] of steps.entries())
    if (j % every === 0)
      out.push(
        `<text x="${SIZE.left - 7}" y="${(SIZE.top + (j + 0.5) * row + 4).toFixed(1)}" text-anchor="end">${step}</text>`,
      );
  const x = linearAxis([0, last], [SIZE.left, SIZE.width - SIZE.right]);
  for (const tick of x.ticks)
    out.push(`<text x="${x.at(tick).toFixed(1)}" y="${(bottom + 16).toFixed(1)}" text-anchor="middle">${tick}</text>`);
  out.push(
    `<text class="name" x="${(SIZE.left + SIZE.width - SIZE.right) / 2}" y="${(bottom + 34).toFixed(1)}" text-anchor="middle">updates</text>`,
    `<text class="name" transform="translate(13 ${((SIZE.top + bottom) / 2).toFixed(1)}) rotate(-90)" text-anchor="middle">denoising step</text>`,
  );
  return `<svg class="chart" viewBox="0 0 ${SIZE.width} ${(bottom + SIZE.bottom).toFixed(1)}" role="img" aria-label="${escapeXml(title)}">${out.join('')}</svg>`;
}

/** The beginning, the middle and the end of each row. */
function valuesTable({ steps, values }: Rows, format: (value: number) => string): string {
  const part = (line: readonly number[], at: number) => {
    const length = Math.ceil(line.length / 10);
    const from = Math.round(at * (line.length - length));
    const inside = line.slice(from, from + length).filter(Number.isFinite);
    return inside.length > 0 ? format(average(inside)) : '';
  };
  return tableHtml(
    ['denoising step', 'first tenth', 'middle', 'last tenth'],
    values.map((line, j) => [String(steps[j]?.step), part(line, 0), part(line, 0.5), part(line, 1)]),
  );
}

/** A map for each group under a title, with one scale of colours; of one group the figure alone. Empty where none has it. */
export function heatFigures(
  groups: readonly Group[],
  { name, title, about }: { name: string; title: string; about: string | undefined },
  denoisingSteps: readonly number[],
  format: (value: number) => string = shortNumber,
): string {
  const maps = groups.map((group) => rowsOf(group, name, denoisingSteps)).filter((rows) => rows !== undefined);
  const { of, low, high, log } = depths(maps.flatMap(({ values }) => values.flat()));
  if (!Number.isFinite(low)) return '';
  const scale = `<span class="scale">${escapeXml(format(low))}${Array.from({ length: DEPTHS }, (_, i) => `<svg viewBox="0 0 14 14" aria-hidden="true"><rect class="h${i}" width="14" height="14"/></svg>`).join('')}${escapeXml(format(high))}${log ? ' (logarithmic)' : ''}</span>`;
  const words = `${about === undefined ? '' : `${about.slice(0, 1).toUpperCase()}${about.slice(1)}. `}Noisiest step on top; darker (in dark mode: brighter) is more.`;
  const alone = groups.length === 1;
  const figures = maps.map((rows) => {
    const { label } = rows.group;
    const what = `${title} by denoising step, ${label}: ${format(low)} to ${format(high)}`;
    const caption = alone
      ? `<b>${escapeXml(title)}</b><span>${escapeXml(words)}</span>${scale}`
      : `<b>${escapeXml(label)}</b>`;
    return `<figure class="map"><figcaption>${caption}</figcaption>${map(rows, of, what)}<details><summary>as a table</summary>${valuesTable(rows, format)}</details></figure>`;
  });
  if (alone) return figures.join('');
  return `<h3>${escapeXml(title)}</h3><p>${escapeXml(words)}</p>${scale}<div class="grid">${figures.join('')}</div>`;
}
