// Axes of charts, by d3-scale: from values to places in a drawing, with ticks at round numbers.
import { scaleLinear, scaleLog } from 'd3-scale';

export interface Axis {
  low: number;
  high: number;
  log: boolean;
  ticks: number[];
  at(value: number): number;
}

export type Extent = [low: number, high: number];

/** Positive values that span more than this are shown by their logarithm. */
const LOG_SPAN = 300;

export function extentOf(values: readonly number[]): Extent {
  const least = values.reduce((low, value) => Math.min(low, value), Number.POSITIVE_INFINITY);
  return [least, values.reduce((high, value) => Math.max(high, value), least)];
}

/** At most `most` ticks and one more: d3 takes their number for a hint, and labels could touch. */
function atMost(most: number, ticks: (count: number) => number[]): number[] {
  for (let count = most; count > 1; count--) {
    const some = ticks(count);
    if (some.length <= most + 1) return some;
  }
  return ticks(1);
}

/** Ticks from `low` to `high` in steps that people count in, about `most` of them. */
export const ticksOf = (low: number, high: number, most = 5): number[] =>
  atMost(most, (count) => scaleLinear([low, high], [0, 1]).ticks(count));

export function linearAxis([low, high]: Extent, places: Extent, ticks = ticksOf(low, high)): Axis {
  const scale = scaleLinear([low, high], places);
  return { low, high, log: false, ticks, at: (value) => scale(value) };
}

/** The extent widened to whole steps, so that a tick stands at both ends. */
export function steppedAxis(extent: Extent, places: Extent, most = 5): Axis {
  const wholeSteps = (count: number) => scaleLinear(extent, places).nice(count);
  const count = Array.from({ length: most }, (_, i) => most - i).find((n) => wholeSteps(n).ticks(n).length <= most + 1);
  const scale = wholeSteps(count ?? 1);
  const [low, high] = scale.domain() as Extent;
  return linearAxis([low, high], places, scale.ticks(count ?? 1));
}

/** Of positive values, with ticks at powers of ten. */
export function logAxis([low, high]: Extent, places: Extent): Axis {
  const scale = scaleLog([low, high], places);
  const decades = Math.floor(Math.log10(high) - Math.log10(low));
  // With more ticks than decades d3 would mark parts of a decade.
  const ticks = atMost(Math.min(4, decades), (count) => scale.ticks(count));
  return { low, high, log: true, ticks, at: (value) => scale(value) };
}

/** Of a lone value: it has room on both sides, and the only tick. */
function loneAxis(value: number, places: Extent): Axis {
  const room = value === 0 ? 1 : Math.abs(value) / 10;
  return linearAxis([value - room, value + room], places, [Number(value.toPrecision(4))]);
}

/** The horizontal axis of these values: from 0, where that is near. */
export function acrossAxis(values: readonly number[], places: Extent): Axis {
  const [low, high] = extentOf(values);
  return low === high ? loneAxis(low, places) : linearAxis([low > 0 && low < high / 4 ? 0 : low, high], places);
}

/** The vertical axis of these values: with some room above and below, and by the logarithm where they span much. */
export function upwardAxis(values: readonly number[], places: Extent): Axis {
  const [low, high] = extentOf(values);
  if (low === high) return loneAxis(low, places);
  if (low > 0 && high / low > LOG_SPAN) return logAxis([low / 1.3, high * 1.3], places);
  const room = 0.04 * (high - low);
  return linearAxis([low - room, high + room], places);
}
