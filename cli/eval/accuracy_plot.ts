// Accuracy against timestep as an SVG: a line a reward, its 95 % interval as a band. Readable in any browser, on its own.
import { area, line } from 'd3-shape';
import { type Level, sigmaText, timestepText } from '../rewards/levels.js';
import { cutStart } from '../text/columns.js';
import { escapeXml } from '../text/xml.js';
import { linearAxis, steppedAxis } from '../ui/axis.js';
import type { Estimate } from './bootstrap.js';

interface Point {
  timestep: number;
  accuracy: Estimate;
}

export interface Line {
  name: string;
  points: Point[];
}

/** Told apart by people who see few colours, too (Okabe and Ito 2008). */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000'];
const SIZE = { width: 720, height: 436, left: 64, right: 24, top: 48, bottom: 80 };
const LEGEND_ROW = 20;

const levelOf = (timestep: number): Level => ({ timestep, sigma: timestep / 1000 });

export function accuracyPlot(lines: readonly Line[], title: string): string {
  const points = lines.flatMap(({ points: some }) => some);
  const timesteps = [...new Set(points.map(({ timestep }) => timestep))].sort((a, b) => a - b);
  const legend = lines.length * LEGEND_ROW;
  const { width, left, right } = SIZE;
  const height = SIZE.height + legend;
  const plotBottom = SIZE.height - SIZE.bottom;
  const x = linearAxis([0, Math.max(1, timesteps.at(-1) as number)], [left, width - right]).at;
  const least = Math.max(0, Math.min(50, ...points.map(({ accuracy }) => 100 * accuracy.low)));
  const most = Math.min(100, Math.max(60, ...points.map(({ accuracy }) => 100 * accuracy.high)));
  const { at: y, ticks, low: bottom, high: top } = steppedAxis([least, most], [plotBottom, SIZE.top], 6);
  const ofPoint = ({ timestep }: Point) => x(timestep);
  const ofShare = (of: 'low' | 'mean' | 'high') => (point: Point) => y(100 * point.accuracy[of]);
  const band = area<Point>(ofPoint, ofShare('low'), ofShare('high')).digits(1);
  const curve = line<Point>(ofPoint, ofShare('mean')).digits(1);
  const out: string[] = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="13" fill="#222">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="${left}" y="26" font-size="15" font-weight="600">${escapeXml(cutStart(title, 80))}</text>`,
  ];
  for (const tick of ticks)
    out.push(
      `<line x1="${left}" x2="${width - right}" y1="${y(tick)}" y2="${y(tick)}" stroke="#ddd"/>`,
      `<text x="${left - 8}" y="${y(tick) + 4}" text-anchor="end">${tick}</text>`,
    );
  if (bottom <= 50 && top > 50)
    out.push(
      `<line x1="${left}" x2="${width - right}" y1="${y(50)}" y2="${y(50)}" stroke-dasharray="5 4" stroke="#888"/>`,
      `<text x="${width - right}" y="${y(50) - 6}" text-anchor="end" fill="#666">chance</text>`,
    );
  for (const timestep of timesteps)
    out.push(
      `<line x1="${x(timestep)}" x2="${x(timestep)}" y1="${plotBottom}" y2="${plotBottom + 5}" stroke="#888"/>`,
      `<text x="${x(timestep)}" y="${plotBottom + 20}" text-anchor="middle">${timestepText(levelOf(timestep))}</text>`,
      `<text x="${x(timestep)}" y="${plotBottom + 36}" text-anchor="middle" fill="#666">${sigmaText(levelOf(timestep))}</text>`,
    );
  out.push(
    `<text x="${(left + width - right) / 2}" y="${plotBottom + 56}" text-anchor="middle">timestep (1000 × noise level σ)</text>`,
    `<text transform="translate(18 ${(SIZE.top + plotBottom) / 2}) rotate(-90)" text-anchor="middle">accuracy, %</text>`,
  );
  for (const [i, { name, points: own }] of lines.entries()) {
    const colour = COLOURS[i % COLOURS.length];
    const dash = i < COLOURS.length ? '' : ' stroke-dasharray="6 3"';
    const sorted = [...own].sort((a, b) => a.timestep - b.timestep);
    if (sorted.length > 1)
      out.push(
        `<path d="${band(sorted)}" fill="${colour}" fill-opacity="0.16"/>`,
        `<path d="${curve(sorted)}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>`,
      );
    for (const { timestep, accuracy } of sorted) {
      if (sorted.length === 1)
        out.push(
          `<line x1="${x(timestep)}" x2="${x(timestep)}" y1="${y(100 * accuracy.low)}" y2="${y(100 * accuracy.high)}" stroke="${colour}" stroke-width="2"/>`,
        );
      out.push(
        `<circle cx="${x(timestep).toFixed(1)}" cy="${y(100 * accuracy.mean).toFixed(1)}" r="4" fill="${colour}"><title>${escapeXml(name)}, timestep ${timestepText(levelOf(timestep))} (${sigmaText(levelOf(timestep))}): ${(100 * accuracy.mean).toFixed(1)} % (${(100 * accuracy.low).toFixed(1)} to ${(100 * accuracy.high).toFixed(1)})</title></circle>`,
      );
    }
    const row = SIZE.height + i * LEGEND_ROW;
    out.push(
      `<line x1="${left}" x2="${left + 24}" y1="${row - 4}" y2="${row - 4}" stroke="${colour}" stroke-width="3"${dash}/>`,
      `<text x="${left + 32}" y="${row}">${escapeXml(cutStart(name, 86))}</text>`,
    );
  }
  out.push('</svg>');
  return `${out.join('\n')}\n`;
}
