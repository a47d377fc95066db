// A run folder as the report sees it: config.json and metrics.jsonl, in whatever state they are.
import { existsSync } from 'node:fs';
import { readdir, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { findAlgorithm } from '../grpo/algorithms/registry.js';
import { workloadOf } from '../grpo/geometry.js';
import { type RunConfig, readRunConfig } from '../runs/folder.js';
import { type LoggedEvent, METRICS_FILE, readMetrics } from '../runs/metrics.js';
import { Means, type Values } from '../ui/figures.js';

/** Where a run stood. */
export interface Moment {
  step: number;
  /** Optimizer updates; a policy run may make several a step. */
  updates: number;
  /** Seconds of training steps times the processes that shared them. */
  device: number;
}

export interface Point extends Moment {
  values: Values;
}

export interface Warned {
  message: string;
  count: number;
  /** The last step before it was said first. */
  step: number;
}

export interface End {
  state: 'done' | 'stopped' | 'failed' | 'unfinished';
  text: string;
}

export interface RecordedRun {
  folder: string;
  /** Tells the runs of one report apart. */
  name: string;
  config: RunConfig;
  /** Of its last `started` event. */
  facts: Readonly<Record<string, string | number>>;
  processes: number;
  /** That an update of a policy learns from at each denoising step; undefined for other runs. */
  samplesPerUpdate: number | undefined;
  /** Its device time has evaluations, images and checkpoints in it: an older drm did not tell them apart. */
  wholeTime: boolean;
  /** Steps asked for; 0 where the run never said. */
  total: number;
  seconds: number;
  /** Where it stood last. */
  at: Moment;
  metrics: readonly Point[];
  evaluations: readonly Point[];
  /** The image to show first, by its name within samples/STEP. */
  sheets: readonly { step: number; file: string }[];
  warnings: readonly Warned[];
  end: End;
  /** Lines of metrics.jsonl that could not be read. */
  badLines: number;
}

/** Points kept of a run's metrics: a run of a million steps must fit into memory and onto a page. */
const MOST_POINTS = 1024;

/** Points as they come; when there are too many, neighbours become one by their mean. */
export class ThinnedPoints {
  points: Point[] = [];
  #each = 1;
  #waiting: Point[] = [];

  add(point: Point): void {
    this.#waiting.push(point);
    if (this.#waiting.length < this.#each) return;
    this.points.push(merged(this.#waiting));
    this.#waiting = [];
    if (this.points.length < 2 * MOST_POINTS) return;
    this.#each *= 2;
    this.points = Array.from({ length: MOST_POINTS }, (_, i) => merged(this.points.slice(2 * i, 2 * i + 2)));
  }

  all(): Point[] {
    return this.#waiting.length > 0 ? [...this.points, merged(this.#waiting)] : this.points;
  }
}

/** Means of neighbours, at the moment of the last: each of their values is already one over the steps before. */
function merged(points: readonly Point[]): Point {
  const last = points.at(-1) as Point;
  if (points.length === 1) return last;
  const means = new Means();
  for (const { values } of points) means.add(values);
  return { ...last, values: means.take() };
}

/** Larger ones overflow when they are drawn, and mean as much as infinity. */
const LARGEST = 1e100;
const isNumber = (value: unknown): value is number => typeof value === 'number' && Math.abs(value) < LARGEST;

/** The numbers of an event's values; what was not finite, or null for it, is NaN. */
function numbersOf(values: unknown): Values {
  if (typeof values !== 'object' || values === null) return {};
  const known = Object.entries(values).filter(([, value]) => typeof value === 'number' || value === null);
  return Object.fromEntries(known.map(([name, value]) => [name, isNumber(value) ? value : Number.NaN]));
}

/** Of seconds since 1970; empty where it is none. */
export const dateOf = (seconds: unknown): string =>
  isNumber(seconds) && Math.abs(seconds) < 8e12
    ? `${new Date(seconds * 1000).toISOString().slice(0, 16).replace('T', ' ')} UTC`
    : '';

/** What metrics.jsonl says, event by event. Whatever a line holds, it is no reason to fail. */
class Reading {
  facts: Record<string, string | number> = {};
  processes = 1;
  total = 0;
  seconds = 0;
  /** What device time was last counted up to. */
  #clock = 0;
  wholeTime = false;
  at: Moment = { step: 0, updates: 0, device: 0 };
  end: End | undefined;
  lastHeard = '';
  metrics = new ThinnedPoints();
  evaluations: { step: number; values: Values }[] = [];
  sheets: { step: number; file: string }[] = [];
  warnings = new Map<string, Warned>();
  badLines = 0;

  constructor(private readonly updatesPerStep: number) {}

  take(event: LoggedEvent): void {
    this.lastHeard = dateOf(event.time) || this.lastHeard;
    switch (event.event) {
      case 'started':
        this.#started(event);
        return;
      case 'metric':
        this.#metric(event);
        return;
      case 'evaluation':
        if (isNumber(event.step)) this.evaluations.push({ step: event.step, values: numbersOf(event.values) });
        return;
      case 'sample_sheet': {
        const first: unknown = Array.isArray(event.paths) ? event.paths[0] : undefined;
        // The folder may have moved since, and what lies outside it is none of the report's business.
        if (isNumber(event.step) && typeof first === 'string')
          this.sheets.push({ step: event.step, file: basename(first) });
        return;
      }
      case 'warning':
        this.#warning(String(event.message));
        return;
      case 'done':
        this.end = { state: 'done', text: '' };
        return;
      case 'error': {
        const [text = ''] = String(event.message).split('\n');
        this.end = { state: event.code === 'CANCELLED' ? 'stopped' : 'failed', text };
        return;
      }
      default:
    }
  }

  #started(event: Extract<LoggedEvent, { event: 'started' }>): void {
    const facts: Record<string, unknown> = typeof event.facts === 'object' && event.facts !== null ? event.facts : {};
    const shown = Object.entries(facts).filter(([, value]) => typeof value === 'string' || typeof value === 'number');
    this.facts = Object.fromEntries(shown) as Record<string, string | number>;
    this.processes = isNumber(facts.processes) && facts.processes >= 1 ? facts.processes : 1;
    if (isNumber(event.steps)) this.total = event.steps;
    this.end = undefined;
  }

  #metric(event: Extract<LoggedEvent, { event: 'metric' }>): void {
    if (!isNumber(event.step)) return;
    const values = numbersOf(event.values);
    const seconds = isNumber(event.seconds) ? event.seconds : this.seconds;
    const clock = isNumber(event.step_seconds) ? event.step_seconds : seconds;
    this.wholeTime ||= event.step_seconds === undefined;
    this.at = {
      step: event.step,
      updates: isNumber(values.updates) ? values.updates : event.step * this.updatesPerStep,
      // Of the processes of this sitting: a resumed run may have others.
      device: this.at.device + Math.max(0, clock - this.#clock) * this.processes,
    };
    this.#clock = Math.max(this.#clock, clock);
    this.seconds = Math.max(this.seconds, seconds);
    if (isNumber(event.total)) this.total = event.total;
    this.metrics.add({ ...this.at, values });
  }

  #warning(message: string): void {
    // Those that differ in figures only say the same thing again.
    const kind = message.replace(/\d+(\.\d+)?/g, '#');
    const before = this.warnings.get(kind);
    this.warnings.set(
      kind,
      before ? { ...before, count: before.count + 1 } : { message, count: 1, step: this.at.step },
    );
  }

  ended(): End {
    if (this.end) return this.end;
    const { step } = this.at;
    const heard = this.lastHeard ? `; last heard of at ${this.lastHeard}` : '';
    const far = step > 0 ? `after step ${step} of ${this.total || '?'}` : 'before its first step was reported';
    return { state: 'unfinished', text: `still at work, or ended without a word, ${far}${heard}` };
  }
}

/** The moment of a step, between those that are known; beyond the last one by the pace up to there. */
export function momentOf(step: number, points: readonly Moment[]): Moment {
  let before: Moment = { step: 0, updates: 0, device: 0 };
  for (const point of points) {
    if (point.step >= step) {
      const share = point.step > before.step ? (step - before.step) / (point.step - before.step) : 1;
      const between = (key: 'updates' | 'device') => before[key] + share * (point[key] - before[key]);
      return { step, updates: between('updates'), device: between('device') };
    }
    before = point;
  }
  const pace = before.step > 0 ? step / before.step : 1;
  return { step, updates: before.step > 0 ? before.updates * pace : step, device: before.device * pace };
}

/** Of a policy's settings, whatever they hold. */
function samplesOf(settings: Record<string, unknown>): number | undefined {
  if (!findAlgorithm(settings.algorithm)) return undefined;
  const { samples } = workloadOf(settings as unknown as Parameters<typeof workloadOf>[0]);
  return samples > 0 && Number.isFinite(samples) ? samples : undefined;
}

/** A run from its folder. Throws DrmError BAD_FILE where there is none. */
export async function readRun(folder: string, name: string): Promise<RecordedRun> {
  const config = await readRunConfig(folder).catch(async (error: unknown) => {
    const inside = await runsIn(folder);
    if (inside.length === 0) throw error;
    const some = inside.slice(0, 3).join(' ');
    throw new DrmError(
      'BAD_FILE',
      `[report] ${folder}: expected a run, found a folder of runs; name them, such as drm report ${some}${inside.length > 3 ? ' …' : ''}`,
      { folder },
    );
  });
  const perStep = config.settings.updates_per_iteration;
  const reading = new Reading(isNumber(perStep) && perStep >= 1 ? perStep : 1);
  const file = join(folder, METRICS_FILE);
  if (existsSync(file))
    for await (const event of readMetrics(file, () => {
      reading.badLines += 1;
    }))
      reading.take(event);
  const metrics = reading.metrics.all();
  return {
    folder,
    name,
    config,
    facts: reading.facts,
    processes: reading.processes,
    samplesPerUpdate: config.task.startsWith('grpo') ? samplesOf(config.settings) : undefined,
    wholeTime: reading.wholeTime,
    total: reading.total,
    seconds: reading.seconds,
    at: reading.at,
    metrics,
    evaluations: reading.evaluations.map(({ step, values }) => ({ ...momentOf(step, metrics), values })),
    sheets: reading.sheets,
    warnings: [...reading.warnings.values()],
    end: reading.ended(),
    badLines: reading.badLines,
  };
}

/** Folders in this one that have a config.json, as runs have. */
export async function runsIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory() && existsSync(join(folder, entry.name, 'config.json')))
    .map((entry) => join(folder, entry.name))
    .sort();
}

/** The shortest ends of the paths that tell them apart. */
export function namesOf(folders: readonly string[]): string[] {
  const parts = folders.map((folder) => folder.split(/[/\\]/).filter((part) => part !== '' && part !== '.'));
  const longest = Math.max(1, ...parts.map((path) => path.length));
  for (let n = 1; n < longest; n++) {
    const names = parts.map((path) => path.slice(-n).join('/'));
    if (new Set(names).size === names.length) return names;
  }
  return parts.map((path, i) => path.join('/') || (folders[i] as string));
}

/** The runs named, each once. Throws DrmError BAD_FILE. */
export async function readRuns(given: readonly string[]): Promise<RecordedRun[]> {
  const folders = new Map<string, string>();
  for (const folder of given) {
    const real = await realpath(folder).catch(() => folder);
    if (!folders.has(real)) folders.set(real, folder);
  }
  const names = namesOf([...folders.keys()]);
  const runs: RecordedRun[] = [];
  for (const [i, folder] of [...folders.values()].entries()) runs.push(await readRun(folder, names[i] as string));
  return runs;
}
