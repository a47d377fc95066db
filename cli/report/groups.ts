// Runs that differ by their seed alone are one line of a chart: the mean of them, and a band from the lowest to the highest.
import { isDeepStrictEqual } from 'node:util';
import { own } from '../common/shape.js';
import { average } from '../eval/bootstrap.js';
import type { Moment, Point, RecordedRun } from './read.js';

export interface Group {
  label: string;
  runs: readonly RecordedRun[];
  /** Its colour on the whole page. */
  index: number;
}

export interface Xy {
  x: number;
  y: number;
}

/** A curve; of several seeds the mean, with what they span. */
export interface Curve {
  points: Xy[];
  band: { x: number; low: number; high: number }[];
  /** Of seeds that have come further than others: the rest of their own curves. */
  tails: Xy[][];
}

export type Axis = keyof Moment;
export type Source = 'metrics' | 'evaluations';

/** Points of a curve on the page. */
const MOST = 120;

/** The settings but the seed. */
function withoutSeed({ config }: RecordedRun): unknown {
  const { seed: _, ...rest } = config.settings;
  return { task: config.task, ...rest };
}

/** "step-k6-seed0" and "step-k6-seed1" are "step-k6". */
function sharedName(names: readonly string[]): string {
  const [first = ''] = names;
  let length = first.length;
  for (const name of names) while (!name.startsWith(first.slice(0, length))) length -= 1;
  return first.slice(0, length).replace(/[^\p{L}\p{N}]*(s|seed)?[^\p{L}\p{N}]*$/iu, '');
}

export function groupsOf(runs: readonly RecordedRun[]): Group[] {
  const groups: RecordedRun[][] = [];
  for (const run of runs) {
    const same = groups.find(([first]) => isDeepStrictEqual(withoutSeed(first as RecordedRun), withoutSeed(run)));
    if (same) same.push(run);
    else groups.push([run]);
  }
  const labels = groups.map((group) => {
    const names = group.map(({ name }) => name);
    const own = group.length > 1 ? sharedName(names) || (names[0] as string) : (names[0] as string);
    const seeds = new Set(group.map(({ config }) => config.settings.seed)).size;
    return group.length > 1 ? `${own} (${group.length} ${seeds === group.length ? 'seeds' : 'runs'})` : own;
  });
  return groups.map((group, index) => {
    const label = labels[index] as string;
    const taken = labels.indexOf(label) !== index;
    return { label: taken ? `${label}, ${group[0]?.name}` : label, runs: group, index };
  });
}

const finite = ({ y }: { y: number }) => Number.isFinite(y);

/** A measured value, and where its run stood. */
interface Measured extends Moment {
  y: number;
}

function valuesOf(points: readonly Point[], name: string): Measured[] {
  return points.flatMap(({ values, ...moment }) => {
    const y = own(values, name);
    return y === undefined ? [] : [{ ...moment, y }];
  });
}

/** At most so many points, each the mean of its neighbours, at the last one's place. */
function thinned(points: readonly Measured[]): Measured[] {
  if (points.length <= MOST) return [...points];
  return Array.from({ length: MOST }, (_, i) => {
    const from = Math.floor((i * points.length) / MOST);
    const part = points.slice(from, Math.floor(((i + 1) * points.length) / MOST));
    return { ...(part.at(-1) as Measured), y: average(part.filter(finite).map(({ y }) => y)) };
  });
}

/** The value of a curve at x, on the line between its neighbours; undefined beyond its ends. */
export function valueAt(points: readonly Xy[], x: number): number | undefined {
  const after = points.findIndex((point) => point.x >= x);
  const next = points[after];
  if (!next) return undefined;
  const before = points[after - 1];
  if (next.x === x || !before) return next.x === x ? next.y : undefined;
  return before.y + ((x - before.x) / (next.x - before.x)) * (next.y - before.y);
}

/** Of every run that has it. With several seeds, step by step, up to where all of them have come. */
export function curveOf(group: Group, source: Source, name: string, axis: Axis): Curve {
  const all = group.runs.map((run) => thinned(valuesOf(run[source], name))).filter((points) => points.some(finite));
  const [only = []] = all;
  const own = (points: readonly Measured[]) => points.map((point) => ({ x: point[axis], y: point.y }));
  if (all.length < 2) return { points: own(only), band: [], tails: [] };
  const lines = all.map((points) => points.filter(finite));
  const along = (key: 'y' | Axis) => lines.map((points) => points.map((point) => ({ x: point.step, y: point[key] })));
  const [places, heights] = [along(axis), along('y')];
  const from = Math.max(...lines.map(([first]) => (first as Measured).step));
  const to = Math.min(...lines.map((points) => (points.at(-1) as Measured).step));
  const steps = [...new Set(lines.flatMap((points) => points.map(({ step }) => step)))]
    .filter((step) => step >= from && step <= to)
    .sort((a, b) => a - b);
  const every = Math.ceil(steps.length / MOST);
  const rows = steps
    .filter((_, i) => (steps.length - 1 - i) % every === 0)
    .map((step) => {
      const at = (curves: Xy[][]) => curves.map((points) => valueAt(points, step) as number);
      return { x: average(at(places)), ys: at(heights) };
    });
  return {
    points: rows.map(({ x, ys }) => ({ x, y: average(ys) })),
    band: rows.map(({ x, ys }) => ({ x, low: Math.min(...ys), high: Math.max(...ys) })),
    tails: lines.map((points) => own(points.filter(({ step }) => step >= to))).filter((tail) => tail.length > 1),
  };
}

/** What a run ended with: the last evaluation, or the mean over the last tenth of its metrics. */
export function finalOf(run: RecordedRun, source: Source, name: string): number | undefined {
  const points = valuesOf(run[source], name).filter(finite);
  if (points.length === 0) return undefined;
  const last = source === 'evaluations' ? 1 : Math.ceil(points.length / 10);
  return average(points.slice(-last).map(({ y }) => y));
}

/** Likewise of a group's runs, those that are done where any is: mean, lowest and highest. */
export function finalsOf(
  group: Group,
  source: Source,
  name: string,
): { mean: number; low: number; high: number; n: number } | undefined {
  const done = group.runs.filter(({ end }) => end.state === 'done');
  const finals = (done.length > 0 ? done : group.runs)
    .map((run) => finalOf(run, source, name))
    .filter((value) => value !== undefined);
  if (finals.length === 0) return undefined;
  return { mean: average(finals), low: Math.min(...finals), high: Math.max(...finals), n: finals.length };
}

/** The names that any of these runs has values of, in their own order. */
export const valueNames = (runs: readonly RecordedRun[], source: Source): string[] => [
  ...new Set(runs.flatMap((run) => run[source].flatMap(({ values }) => Object.keys(values)))),
];
