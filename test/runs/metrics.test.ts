// metrics.jsonl: whole lines, each step once, whatever happened to the process that wrote it.
import { appendFileSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Event } from '../../cli/common/events.js';
import { cutMetrics, MetricsWriter, readMetrics } from '../../cli/runs/metrics.js';
import { temporaryFolder } from '../run_drm.js';

const metric = (step: number): Event => ({
  event: 'metric',
  step,
  total: 9,
  seconds: step,
  seconds_left: 9 - step,
  values: { loss: 1 / step },
});
const checkpoint = (step: number): Event => ({ event: 'checkpoint', step, path: `checkpoints/${step}` });
const evaluation = (step: number): Event => ({ event: 'evaluation', step, values: { loss: 1 } });
const warning: Event = { event: 'warning', message: 'ünïcode 🦊' };

function written(events: Event[]): string {
  const path = join(temporaryFolder(), 'metrics.jsonl');
  const writer = new MetricsWriter(path);
  for (const event of events) writer.append(event);
  writer.close();
  return path;
}

async function names(path: string, onBadLine?: (line: number) => void): Promise<string[]> {
  const all: string[] = [];
  for await (const event of readMetrics(path, onBadLine))
    all.push('step' in event ? `${event.event} ${event.step}` : event.event);
  return all;
}

test('events are kept with their time; what only a terminal wants is not', async () => {
  const path = written([
    warning,
    { event: 'progress', id: 'load', label: 'loading', step: 1, total: 2, unit: 'B', seconds: 1 },
    metric(1),
  ]);
  expect(await names(path)).toEqual(['warning', 'metric 1']);
  const first = JSON.parse(readFileSync(path, 'utf8').split('\n')[0] ?? '') as { time: number; message: string };
  expect(first.message).toBe('ünïcode 🦊');
  expect(Math.abs(first.time - Date.now() / 1000)).toBeLessThan(60);
});

test('a figure that is no number stays in place as null', async () => {
  const path = written([{ ...metric(1), values: { loss: 1, accuracy: Number.NaN } } as Event]);
  expect(readFileSync(path, 'utf8')).toContain('"values":{"loss":1,"accuracy":null}');
});

test('an unfinished last line is passed over while reading, and cut on resuming', async () => {
  const path = written([metric(1), warning, metric(2)]);
  const whole = readFileSync(path);
  for (const bytes of [1, 2, 40, 90]) {
    writeFileSync(path, whole.subarray(0, -bytes));
    const bad: number[] = [];
    expect(await names(path, (line) => bad.push(line))).toEqual(['metric 1', 'warning']);
    expect(bad).toEqual([]);
    expect(await cutMetrics(path, 5)).toBe(1);
    expect(readFileSync(path, 'utf8').endsWith('\n')).toBe(true);
    const writer = new MetricsWriter(path);
    writer.append(metric(2));
    writer.close();
    expect(await names(path)).toEqual(['metric 1', 'warning', 'metric 2']);
  }
});

test('a line that cannot be read is told by number', async () => {
  const path = written([metric(1)]);
  appendFileSync(path, '\0\0\0\nnull\n');
  const writer = new MetricsWriter(path);
  writer.append(metric(2));
  writer.close();
  const bad: number[] = [];
  expect(await names(path, (line) => bad.push(line))).toEqual(['metric 1', 'metric 2']);
  expect(bad).toEqual([2, 3]);
});

test('resuming cuts what was said after the checkpoint', async () => {
  const events = [metric(1), metric(2), evaluation(2), checkpoint(2), evaluation(2), warning, metric(3)];
  const path = written(events);
  expect(await cutMetrics(path, 2)).toBe(3);
  expect(await names(path)).toEqual(['metric 1', 'metric 2', 'evaluation 2', 'checkpoint 2']);
  expect(await cutMetrics(path, 2)).toBe(0);
});

test('and where the checkpoint could not say so any more, what belongs to later steps', async () => {
  const path = written([warning, metric(1), metric(2), metric(3), warning, metric(4)]);
  expect(await cutMetrics(path, 2)).toBe(3);
  expect(await names(path)).toEqual(['warning', 'metric 1', 'metric 2']);
  expect(await cutMetrics(path, 0)).toBe(2);
  expect(await names(path)).toEqual(['warning']);
});

test('lines longer than a read, and a character across two of them', async () => {
  const long: Event = { event: 'warning', message: '🦊'.repeat(100_000) };
  const path = written([long, metric(1), long, checkpoint(1), metric(2)]);
  expect(await names(path)).toEqual(['warning', 'metric 1', 'warning', 'checkpoint 1', 'metric 2']);
  expect(await cutMetrics(path, 1)).toBe(1);
  expect(await names(path)).toEqual(['warning', 'metric 1', 'warning', 'checkpoint 1']);
});

test('a full disk is named', () => {
  const path = join(temporaryFolder(), 'metrics.jsonl');
  symlinkSync('/dev/full', path); // any write there is ENOSPC
  const writer = new MetricsWriter(path);
  expect(() => writer.append(metric(1))).toThrow(/metrics\.jsonl: cannot be written: ENOSPC.*free some space/);
});
