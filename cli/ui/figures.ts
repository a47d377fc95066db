// Numbers of training as people read them. Names of values are the event format's; here are the words for those we know.

import { own } from '../common/shape.js';

export type Values = Readonly<Record<string, number>>;

const SHORT: Record<string, string> = {
  learning_rate: 'lr',
  grad_norm: 'grad',
  memory_mb: 'memory',
  data_wait: 'waiting',
  rollout_seconds: 'rollout',
  reward_seconds: 'scoring',
  update_seconds: 'update',
};

/** Counts from the beginning, and a scale that moves by halves: of several, the last one holds. */
export const COUNTS = ['updates', 'skipped', 'overflows', 'loss_scale'];

/** "accuracy_t250_500" is that of the pairs whose timestep lies there: "accuracy 250–500". */
const BUCKET = /_t(\d+)_(\d+)$/;

export const label = (name: string): string => own(SHORT, name) ?? name.replace(BUCKET, ' $1–$2').replaceAll('_', ' ');

/** The parts of such a name. */
export function bucketOf(name: string): { name: string; from: number; to: number } | undefined {
  const found = BUCKET.exec(name);
  return found ? { name: name.slice(0, found.index), from: Number(found[1]), to: Number(found[2]) } : undefined;
}

/** "reward/3" is that of denoising step 3: so many that only the report shows them. */
export function perStep(name: string): { name: string; step: number } | undefined {
  const found = /^(.+)\/(\d{1,4})$/.exec(name);
  return found ? { name: found[1] as string, step: Number(found[2]) } : undefined;
}

export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function bytes(n: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let i = 0;
  let value = n;
  while (value >= 999.5 && i < units.length - 1) {
    value /= 1000;
    i += 1;
  }
  return `${i === 0 || value >= 99.5 ? Math.round(value) : value.toPrecision(2)} ${units[i]}`;
}

/** Three digits, with an exponent only where zeros would hide them. */
export function shortNumber(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? 'inf' : '-inf';
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size >= 99_999.5 || size < 0.000995) return value.toExponential(size >= 1e6 ? 2 : 1).replace('e+', 'e');
  if (size >= 99.95) return value.toFixed(0);
  return value.toPrecision(3);
}

/** "0.431", "12 %", "1.2 GB": the value of a named figure with its unit. */
export function quantity(name: string, value: number): string {
  if (name === 'memory_mb') return bytes(value * 1e6);
  if (name.endsWith('_seconds')) return duration(value);
  if (name === 'ratio') return Number.isFinite(value) ? value.toFixed(5) : shortNumber(value); // clip ranges are that small
  if (COUNTS.includes(name)) return Number.isFinite(value) ? String(Math.round(value)) : shortNumber(value);
  if (name === 'data_wait' || name === 'zero_variance' || /^accuracy|_fraction(_high|_low)?$/.test(name))
    return Number.isFinite(value) ? `${Number((value * 100).toFixed(1))} %` : shortNumber(value);
  return shortNumber(value);
}

/** "loss 0.431", "243 samples/s". */
export function figure(name: string, value: number): string {
  if (name.endsWith('_per_second')) return `${shortNumber(value)} ${name.slice(0, -'_per_second'.length)}/s`;
  if (name === 'data_wait') return `waiting for data ${quantity(name, value)}`;
  return `${label(name)} ${quantity(name, value)}`;
}

/** But those of single denoising steps. */
export const figures = (values: Values): string[] =>
  Object.entries(values)
    .filter(([name]) => !perStep(name))
    .map(([name, value]) => figure(name, value));

/** "step 10/40  loss 0.431  lr 1.5e-3  12 s left": a moment of training on one line. */
export function metricLine(step: number, total: number, values: Values, secondsLeft = Number.NaN): string {
  const left = step < total && Number.isFinite(secondsLeft) ? [`${duration(secondsLeft)} left`] : [];
  return [`step ${step}/${total}`, ...figures(values), ...left].join('  ');
}

/** Means of figures over several events; of counts the last. */
export class Means {
  #sums = new Map<string, { sum: number; count: number }>();

  add(values: Values): void {
    for (const [name, value] of Object.entries(values)) {
      const { sum, count } = this.#sums.get(name) ?? { sum: 0, count: 0 };
      if (COUNTS.includes(name)) this.#sums.set(name, { sum: value, count: 1 });
      else this.#sums.set(name, Number.isFinite(value) ? { sum: sum + value, count: count + 1 } : { sum, count });
    }
  }

  take(): Record<string, number> {
    const means = [...this.#sums].map(([name, { sum, count }]) => [name, count > 0 ? sum / count : Number.NaN]);
    this.#sums.clear();
    return Object.fromEntries(means) as Record<string, number>;
  }
}
