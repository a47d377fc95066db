// Run folders with invented figures: shaped like those of real runs, drawn from a seed, and named "fake" wherever one looks.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import type { Event } from '../../cli/common/events.js';

/** Numbers from 0 to 1 (mulberry32). */
function draws(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface FakeRun {
  task: string;
  settings: Record<string, unknown>;
  events: Event[];
  resumed?: unknown[];
}

/** Writes a run folder; every event gets a time. */
export function writeRun(folder: string, { task, settings, events, resumed = [] }: FakeRun): string {
  mkdirSync(folder, { recursive: true });
  const config = { task, drm: '0.0.0-fake', created: '2026-01-02T03:04:05.000Z', settings, settings_hash: '', resumed };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  const lines = events.map((event, i) => `${JSON.stringify({ ...event, time: 1767323045 + i })}\n`);
  writeFileSync(join(folder, 'metrics.jsonl'), lines.join(''));
  return folder;
}

export interface Policy {
  algorithm: 'flow' | 'step';
  k?: number;
  seed?: number;
  iterations?: number;
  processes?: number;
  /** How fast it learns. */
  pace?: number;
}

/** A policy run that ends well. */
export function policyRun({ algorithm, k = 6, seed = 0, iterations = 60, processes = 1, pace = 1 }: Policy): FakeRun {
  const random = draws(seed + 100 * k + (algorithm === 'flow' ? 7 : 0));
  const noise = (size: number) => (random() + random() + random() - 1.5) * size;
  const perIteration = algorithm === 'flow' ? 2 : 1;
  const secondsEach = algorithm === 'flow' ? 9 : 6 + k / 2;
  const learnt = (step: number) => 1 - Math.exp((-pace * 3 * step) / 60);
  const settings = {
    algorithm,
    model: 'fake-model',
    reward: 'drm:fake',
    ...{ k, group: 24, iterations, updates_per_iteration: perIteration, seed, learning_rate: 1e-4, kl_beta: 0.01 },
  };
  const facts = { run: 'fake', model: 'fake-model', device: 'cpu', ...(processes > 1 && { processes }) };
  const events: Event[] = [{ event: 'started', version: 1, command: 'grpo', steps: iterations, facts }];
  const metric = (step: number): Event => {
    const values: Record<string, number> = {
      loss: noise(0.01),
      kl: 1e-5 * step * step + 1e-6,
      ratio: 1 + noise(2e-4),
      ratio_deviation: 2e-5 * step,
      clip_fraction: Math.min(0.9, step / 150 + random() / 20),
      grad_norm: 0.4 + noise(0.3),
      reward: (algorithm === 'flow' ? 0.5 : -1) + 2 * learnt(step) + noise(0.4),
      group_deviation: 0.5 - 0.2 * learnt(step) + noise(0.05),
      zero_variance: random() < 0.3 ? random() / 8 : 0,
      updates: step * perIteration,
      ...{ rollout_seconds: 4, reward_seconds: 1.2, update_seconds: secondsEach - 5.2 },
      ...{ samples_per_second: 24 / secondsEach, data_wait: 0, memory_mb: 900 + step, learning_rate: 1e-4 },
    };
    for (let j = 0; j < 9; j++) {
      values[`reward/${j}`] = j / 4 - 2 + ((2 * (j + 3)) / 11) * learnt(step) + noise(0.1);
      values[`ratio_deviation/${j}`] = 1e-6 * step * 1.9 ** j;
    }
    const seconds = step * secondsEach * (1 + seed / 50);
    const seconds_left = (iterations - step) * secondsEach;
    return { event: 'metric', step, total: iterations, seconds, seconds_left, values };
  };
  const evaluation = (step: number): Event => ({
    event: 'evaluation',
    step,
    values: {
      reward: 0.5 + 2 * learnt(step) + noise(0.06),
      judge: 0.2 + 0.05 * learnt(step) - 0.01 * (step / iterations) ** 2 + noise(0.003),
      saturation: 0.4 + 0.1 * learnt(step),
      high_frequency: 0.1 + 0.02 * learnt(step) + noise(0.005),
    },
  });
  events.push(evaluation(0));
  for (let step = 1; step <= iterations; step++) {
    events.push(metric(step));
    if (step % 10 === 0) events.push(evaluation(step));
    if (step % 20 === 0)
      events.push({ event: 'sample_sheet', step, paths: [`/elsewhere/fake/samples/${step}/sheet.png`] });
    if (step > 30 && step % 8 === 0)
      events.push({ event: 'warning', message: `fake: clip fraction is high: 0.${step} of the ratios lie outside` });
  }
  events.push({ event: 'done', seconds: iterations * secondsEach, facts: {} });
  return { task: 'grpo', settings, events };
}

/** A reward model's run that ends well. */
export function rewardRun({ seed = 0, steps = 300, learning_rate = 1e-3 } = {}): FakeRun {
  const random = draws(seed + 1000);
  const noise = (size: number) => (random() + random() + random() - 1.5) * size;
  const facts = { run: 'fake', model: 'fake-base', device: 'cpu' };
  const events: Event[] = [{ event: 'started', version: 1, command: 'train', steps, facts }];
  const figures = (step: number, wobble: number): Record<string, number> => {
    const learnt = 1 - Math.exp((-3 * step) / steps);
    const share = (most: number) => Math.min(1, 0.5 + (most - 0.5) * learnt + noise(wobble));
    return {
      loss: 0.69 - 0.3 * learnt + noise(wobble),
      accuracy: share(0.84),
      margin: 2 * learnt + noise(wobble),
      ...{ accuracy_t0_250: share(0.92), accuracy_t250_500: share(0.86) },
      ...{ accuracy_t500_750: share(0.79), accuracy_t750_1000: share(0.66) },
    };
  };
  for (let step = 5; step <= steps; step += 5) {
    const speed = { pairs_per_second: 41 + noise(4), data_wait: 0.01, memory_mb: 900, learning_rate };
    const values = { ...figures(step, 0.15), grad_norm: 1.1 + noise(0.5), ...speed };
    const [seconds, seconds_left] = [step * 0.8, (steps - step) * 0.8];
    events.push({ event: 'metric', step, total: steps, seconds, seconds_left, values });
    if (step % 50 === 0) events.push({ event: 'evaluation', step, values: figures(step, 0.01) });
  }
  events.push({ event: 'done', seconds: steps * 0.8, facts: {} });
  return { task: 'train', settings: { model: 'fake-base', batch: 32, steps, seed, learning_rate }, events };
}

/** A sheet of flat squares, and its prompts, in samples/STEP. */
export async function writeSheet(folder: string, step: number, hue: number): Promise<void> {
  const samples = join(folder, 'samples', String(step));
  mkdirSync(samples, { recursive: true });
  const cells = Array.from(
    { length: 16 },
    (_, i) =>
      `<rect x="${(i % 4) * 72 + 8}" y="${Math.floor(i / 4) * 72 + 8}" width="64" height="64" fill="hsl(${hue + 9 * i} 70% ${30 + step / 2}%)"/>`,
  );
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="296" height="296"><rect width="296" height="296" fill="#fff"/>${cells.join('')}</svg>`;
  await sharp(Buffer.from(svg)).png().toFile(join(samples, 'sheet.png'));
  writeFileSync(join(samples, 'prompts.txt'), 'a fake red square\na fake <b>blue</b> square\n');
}

export const metric = (step: number, values: Record<string, number | null>, seconds = step): Event =>
  ({ event: 'metric', step, total: 10, seconds, seconds_left: 0, values }) as Event;
export const started = (facts: Record<string, string | number> = {}): Event => ({
  ...{ event: 'started', version: 1, command: 'train', steps: 10, facts },
});
export const run = (events: Event[], settings: Record<string, unknown> = {}, task = 'train'): FakeRun => ({
  ...{ task, settings, events },
});
