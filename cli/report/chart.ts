// Charts as SVG elements of a page: colours come from its style sheet, so that they follow light and dark.
import { area, line as lineShape } from 'd3-shape';
import { escapeXml } from '../text/xml.js';
import { type Axis, acrossAxis, extentOf, upwardAxis } from '../ui/axis.js';
import { shortNumber } from '../ui/figures.js';
import { valueAt, type Xy } from './groups.js';

export interface ChartLine {
  name: string;
  /** Of its group; tells lines apart on the whole page. */
  colour: number;
  points: readonly Xy[];
  band?: readonly { x: number; low: number; high: number }[];
  tails?: readonly (readonly Xy[])[];
  /** Few measured points (evaluations) have a mark each. */
  marks?: boolean;
  /** Behind the others: what training itself saw, beside held-out figures. */
  faint?: boolean;
}

export interface Chart {
  title: string;
  /** What the figure is, for those who do not know its name. */
  about?: string;
  xLabel: string;
  lines: readonly ChartLine[];
  /** As people read a value; short numbers otherwise. */
  format?: (value: number) => string;
  /** A level worth seeing, if it lies within the chart's range or near it: chance, a ratio of 1. */
  level?: { value: number; text: string };
}

/** In units of the drawing. The page scales it to its columns. */
const SIZE = { width: 440, height: 236, left: 54, right: 12, top: 12, bottom: 42 };
const PLOT = {
  left: SIZE.left,
  right: SIZE.width - SIZE.right,
  top: SIZE.top,
  bottom: SIZE.height - SIZE.bottom,
};
/** Colours of the style sheet; the lines beyond them are dashed. */
export const COLOURS = 7;
const TABLE_ROWS = 10;

export const colourClass = (colour: number): string =>
  `c${colour % COLOURS}${colour >= COLOURS ? ` d${Math.floor(colour / COLOURS) % 3}` : ''}`;

/** A mark's number: no zeros that say nothing. */
function tickText(value: number): string {
  const short = Number(value.toPrecision(6));
  const size = Math.abs(short);
  return size !== 0 && (size >= 1e5 || size < 1e-3) ? short.toExponential().replace('e+', 'e') : String(short);
}

const fixed = (value: number): string => String(Number(value.toFixed(1)));

/** Between two gaps: a line would not show it. */
const isLone = ({ y }: Xy, i: number, points: readonly Xy[]): boolean =>
  Number.isFinite(y) && !Number.isFinite(points[i - 1]?.y) && !Number.isFinite(points[i + 1]?.y);

function lineOf(line: ChartLine, x: Axis, y: Axis, format: (value: number) => string): string {
  const { points, band = [], tails = [], marks, faint, colour, name } = line;
  const path = lineShape<Xy>(
    (point) => x.at(point.x),
    (point) => y.at(point.y),
  )
    .defined((point) => Number.isFinite(point.y))
    .digits(1);
  const bandPath = area<{ x: number; low: number; high: number }>(
    (part) => x.at(part.x),
    (part) => y.at(part.low),
    (part) => y.at(part.high),
  ).digits(1);
  const out: string[] = [];
  if (band.length > 1) out.push(`<path class="band" d="${bandPath([...band])}"/>`);
  for (const tail of tails)
    out.push(`<path class="line tail" data-name="${escapeXml(name)}, one seed" d="${path([...tail])}"/>`);
  out.push(`<path class="line" data-name="${escapeXml(name)}" d="${path([...points])}"/>`);
  for (const point of points.filter(marks ? ({ y: value }) => Number.isFinite(value) : isLone))
    out.push(
      `<circle cx="${fixed(x.at(point.x))}" cy="${fixed(y.at(point.y))}" r="3"><title>${escapeXml(name)}: ${escapeXml(format(point.y))} at ${tickText(point.x)}</title></circle>`,
    );
  return `<g class="${colourClass(colour)}${faint ? ' faint' : ''}">${out.join('')}</g>`;
}

const isShown = ({ points }: ChartLine): boolean => points.some(({ y }) => Number.isFinite(y));

/** "a from 0.1 to 0.8": the chart for those who do not see it. */
function inWords({ title, xLabel, lines, format = shortNumber }: Chart): string {
  const said = lines.map(({ name, points }) => {
    const finite = points.filter(({ y }) => Number.isFinite(y));
    return `${name} from ${format((finite[0] as Xy).y)} to ${format((finite.at(-1) as Xy).y)}`;
  });
  return `${title} against ${xLabel}: ${said.slice(0, 8).join('; ')}${said.length > 8 ? `; and ${said.length - 8} more` : ''}`;
}

function drawing(chart: Chart): string {
  const { lines, xLabel, format = shortNumber, level } = chart;
  const all = lines
    .flatMap(({ points, tails = [] }) => [...points, ...tails.flat()])
    .filter(({ y }) => Number.isFinite(y));
  const ys = [
    ...all.map((point) => point.y),
    ...lines.flatMap(({ band = [] }) => band.flatMap(({ low, high }) => [low, high])),
  ];
  const [least, most] = extentOf(ys);
  const near = level && level.value >= least - (most - least) / 2 && level.value <= most + (most - least) / 2;
  const x = acrossAxis(
    all.map((point) => point.x),
    [PLOT.left, PLOT.right],
  );
  const y = upwardAxis(near ? [...ys, level.value] : ys, [PLOT.bottom, PLOT.top]);
  const out: string[] = [];
  for (const tick of y.ticks)
    out.push(
      `<line class="tick" x1="${PLOT.left}" x2="${PLOT.right}" y1="${fixed(y.at(tick))}" y2="${fixed(y.at(tick))}"/>`,
      `<text x="${PLOT.left - 7}" y="${fixed(y.at(tick) + 4)}" text-anchor="end">${tickText(tick)}</text>`,
    );
  for (const tick of x.ticks)
    out.push(`<text x="${fixed(x.at(tick))}" y="${PLOT.bottom + 17}" text-anchor="middle">${tickText(tick)}</text>`);
  out.push(
    `<line class="axis" x1="${PLOT.left}" x2="${PLOT.right}" y1="${PLOT.bottom}" y2="${PLOT.bottom}"/>`,
    `<text class="name" x="${(PLOT.left + PLOT.right) / 2}" y="${SIZE.height - 6}" text-anchor="middle">${escapeXml(xLabel)}</text>`,
  );
  if (y.log)
    out.push(
      `<text class="name" transform="translate(9 ${(PLOT.top + PLOT.bottom) / 2}) rotate(-90)" text-anchor="middle">logarithmic</text>`,
    );
  if (near)
    out.push(
      `<line class="level" x1="${PLOT.left}" x2="${PLOT.right}" y1="${fixed(y.at(level.value))}" y2="${fixed(y.at(level.value))}"/>`,
      `<text class="name" x="${PLOT.right}" y="${fixed(y.at(level.value) - 5)}" text-anchor="end">${escapeXml(level.text)}</text>`,
    );
  for (const line of [...lines.filter(({ faint }) => faint), ...lines.filter(({ faint }) => !faint)])
    out.push(lineOf(line, x, y, format));
  const frame = [x.low, x.high, PLOT.left, PLOT.right, y.low, y.high, PLOT.bottom, PLOT.top, y.log ? 1 : 0].join(' ');
  return `<svg class="chart" viewBox="0 0 ${SIZE.width} ${SIZE.height}" role="img" aria-label="${escapeXml(inWords(chart))}" data-frame="${frame}">${out.join('')}</svg>`;
}

/** The figures of the lines at evenly spaced places. */
function valuesTable({ lines, xLabel, format = shortNumber }: Chart): string {
  const finite = lines.map((line) => line.points.filter(({ y }) => Number.isFinite(y)));
  const xs = [...new Set(finite.flat().map(({ x }) => x))].sort((a, b) => a - b);
  const [low, high] = [xs[0] as number, xs.at(-1) as number];
  const places =
    xs.length <= TABLE_ROWS
      ? xs
      : Array.from({ length: TABLE_ROWS }, (_, i) => low + (i / (TABLE_ROWS - 1)) * (high - low));
  const rows = places.map((x) => [
    tickText(Number(x.toPrecision(4))),
    ...finite.map((points) => {
      const value = valueAt(points, x);
      return value === undefined ? '' : format(value);
    }),
  ]);
  return tableHtml([xLabel, ...lines.map(({ name }) => name)], rows);
}

/** A table whose first column names the rows. */
export function tableHtml(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = ([first = '', ...rest]: readonly string[]) =>
    `<tr><th scope="row">${escapeXml(first)}</th>${rest.map((cell) => `<td>${escapeXml(cell)}</td>`).join('')}</tr>`;
  return `<div class="scroll"><table><thead><tr>${head.map((cell) => `<th scope="col">${escapeXml(cell)}</th>`).join('')}</tr></thead><tbody>${rows.map(cells).join('')}</tbody></table></div>`;
}

/** A figure with its title and its table; empty where no line has a point. */
export function chartFigure(given: Chart): string {
  const chart = { ...given, lines: given.lines.filter(isShown) };
  if (chart.lines.length === 0) return '';
  const about = chart.about ? `<span>${escapeXml(chart.about)}</span>` : '';
  return `<figure><figcaption><b>${escapeXml(chart.title)}</b>${about}</figcaption>${drawing(chart)}<details><summary>as a table</summary>${valuesTable(chart)}</details></figure>`;
}
