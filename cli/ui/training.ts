// What the training view shows, as a reducer over events.
import type { Event } from '../common/events.js';
import type { Bar } from './bar.js';
import { COUNTS, perStep, type Values } from './figures.js';

/** Metric events nearer to each other than this, in seconds of training, are one point of a curve. */
const POINT_SECONDS = 1;
/** Points kept: five minutes of a fast run, as many steps of a slow one. */
const POINTS = 300;
/** The figure shown as the present one is a mean over so many points, but over a quarter of the curve at most. */
const RECENT = 10;
/** Shown as numbers alone; all else that a task measures gets a curve. */
const NUMBERS = [
  'updates',
  'learning_rate',
  'samples_per_second',
  'pairs_per_second',
  'rollout_seconds',
  'reward_seconds',
  'update_seconds',
  'data_wait',
  'memory_mb',
  'skipped',
  'reward_not_finite',
];
/** Of these the last one counts, not a mean: a rate on its way, counts. */
const LATEST = [...COUNTS, 'learning_rate', 'memory_mb'];
/** What tells learning from cheating, in the order one looks at it. */
const POLICY = [
  'reward',
  'group_deviation',
  'judge',
  'ratio',
  'ratio_deviation',
  'clip_fraction',
  'kl',
  'grad_norm',
  'zero_variance',
];

interface Point {
  /** When it began. */
  seconds: number;
  /** Metric events in it. */
  events: number;
  values: Values;
}

export interface Training {
  /** Command and facts of the started event. */
  command: string;
  facts: Record<string, string | number>;
  step: number;
  total: number;
  seconds: number;
  secondsLeft: number;
  points: readonly Point[];
  /** What the step is at; the last one where none is. */
  phase: Bar | undefined;
  evaluation: Extract<Event, { event: 'evaluation' }> | undefined;
  /** The judge's word at each evaluation. */
  judged: readonly number[];
  checkpoint: Extract<Event, { event: 'checkpoint' | 'resumed' }> | undefined;
  images: Extract<Event, { event: 'sample_sheet' }> | undefined;
  warnings: { count: number; last: string };
}

export function beginTraining(event: Extract<Event, { event: 'started' }>): Training {
  return {
    command: event.command,
    facts: event.facts,
    step: 0,
    total: event.steps ?? 0,
    seconds: 0,
    secondsLeft: Number.NaN,
    points: [],
    phase: undefined,
    evaluation: undefined,
    judged: [],
    checkpoint: undefined,
    images: undefined,
    warnings: { count: 0, last: '' },
  };
}

/** Means over the values of a point and of one event more; a key may be in one of them only. */
function merge(point: Point, values: Values): Point {
  const merged: Record<string, number> = { ...point.values };
  for (const [name, value] of Object.entries(values)) {
    const before = merged[name];
    merged[name] =
      before === undefined || COUNTS.includes(name) || !Number.isFinite(before) || !Number.isFinite(value)
        ? value
        : before + (value - before) / (point.events + 1);
  }
  return { ...point, events: point.events + 1, values: merged };
}

export function reduceTraining(training: Training, event: Event): Training {
  switch (event.event) {
    case 'metric': {
      const { step, total, seconds, seconds_left: secondsLeft } = event;
      const values = Object.fromEntries(Object.entries(event.values).filter(([name]) => !perStep(name)));
      const last = training.points.at(-1);
      const points =
        last && seconds - last.seconds < POINT_SECONDS
          ? [...training.points.slice(0, -1), merge(last, values)]
          : [...training.points.slice(1 - POINTS), { seconds, events: 1, values }];
      return { ...training, step, total, seconds, secondsLeft, points };
    }
    case 'progress': {
      const { id, label, step, total, unit, seconds } = event;
      return { ...training, phase: { id, label, step, total, unit, seconds } };
    }
    case 'evaluation': {
      const { judge } = event.values;
      const judged = judge === undefined ? training.judged : [...training.judged.slice(1 - POINTS), judge];
      return { ...training, evaluation: event, judged };
    }
    case 'resumed':
      return { ...training, step: event.step, checkpoint: event };
    case 'checkpoint':
      return { ...training, checkpoint: event };
    case 'sample_sheet':
      return { ...training, images: event };
    case 'warning':
      return { ...training, warnings: { count: training.warnings.count + 1, last: event.message } };
    default:
      return training;
  }
}

export interface Series {
  name: string;
  /** Mean of the last points. */
  value: number;
  /** Oldest first; NaN where a point has none. */
  values: number[];
}

function seriesOf(training: Training, name: string): Series {
  const values = training.points.map((point) => point.values[name] ?? Number.NaN);
  const recent = values.slice(-Math.min(RECENT, Math.ceil(values.length / 4))).filter(Number.isFinite);
  const value =
    recent.length > 0 ? recent.reduce((sum, one) => sum + one, 0) / recent.length : (values.at(-1) ?? Number.NaN);
  return { name, value, values };
}

const namesOf = (training: Training) => [...new Set(training.points.flatMap((point) => Object.keys(point.values)))];

/** Curves: the loss first, the gradient norm last, what the task measures between them in its own order; of a policy POLICY. */
export function curves(training: Training): Series[] {
  const measured = namesOf(training).filter((name) => !NUMBERS.includes(name));
  const isPolicy = measured.includes('group_deviation');
  const names = isPolicy && training.judged.length > 0 ? [...measured, 'judge'] : measured;
  const policyRank = (name: string) => (POLICY.includes(name) ? POLICY.indexOf(name) : POLICY.length);
  const lossRank = (name: string) => (name === 'loss' ? 0 : name === 'grad_norm' ? 2 : 1);
  const rank = isPolicy ? policyRank : lossRank;
  return names
    .sort((a, b) => rank(a) - rank(b))
    .map((name) =>
      name === 'judge' && isPolicy
        ? { name, value: training.judged.at(-1) ?? Number.NaN, values: [...training.judged] }
        : seriesOf(training, name),
    );
}

export function numbers(training: Training): Series[] {
  const known = namesOf(training);
  return NUMBERS.filter((name) => known.includes(name)).map((name) => {
    const series = seriesOf(training, name);
    return LATEST.includes(name) ? { ...series, value: series.values.at(-1) ?? Number.NaN } : series;
  });
}

/** Seconds of training that the curves span. */
export const span = ({ points, seconds }: Training): number => seconds - (points[0]?.seconds ?? seconds);
