// Lines of a training for pipes and logs.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Event } from '../../cli/common/events.js';
import { PlainRenderer } from '../../cli/ui/plain.js';

let written = '';
beforeEach(() => {
  vi.useFakeTimers();
  written = '';
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    written += String(text);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const started: Event = { event: 'started', version: 1, command: 'grpo', steps: 5, facts: { model: 'tiny' } };
const metric = (step: number): Event => ({
  event: 'metric',
  step,
  total: 5,
  seconds: step,
  seconds_left: 5 - step,
  values: { reward: step, 'reward/3': 9, updates: 2 * step },
});
const phase = (label: string, step: number): Event => ({
  event: 'progress',
  id: label,
  label,
  step,
  total: 10,
  unit: 'step',
  seconds: step,
});
const lines = () => written.split('\n').filter(Boolean);

test('a step that takes long says what it is at, a quick one does not', () => {
  const renderer = new PlainRenderer(false);
  const say = (event: Event, pause: number) => {
    renderer.emit(event);
    vi.advanceTimersByTime(pause);
  };
  say(started, 1000);
  for (let i = 1; i <= 10; i++) say(phase('rollout', i), 100);
  say(metric(1), 1000);
  for (let i = 1; i <= 10; i++) say(phase('rollout', i), 1000);
  for (let i = 1; i <= 4; i++) say(phase('update', i), 1000);
  say(metric(2), 0);
  expect(lines().slice(1)).toEqual([
    'step 1/5  reward 1.00  updates 2  4.0 s left',
    'after step 1: rollout  50 %  5/10 · 1.0 s/step · 5.0 s left',
    'after step 1: rollout  100 %  10/10 · 1.0 s/step · 0.0 s left',
    'step 2/5  reward 2.00  updates 4  3.0 s left',
  ]);
});

test('quiet is quiet', () => {
  const renderer = new PlainRenderer(true);
  renderer.emit(started);
  vi.advanceTimersByTime(60_000);
  renderer.emit(phase('rollout', 3));
  renderer.emit(metric(1));
  expect(lines()).toEqual([]);
});

test('a total that shrinks on the way counts as it is now', () => {
  const renderer = new PlainRenderer(false);
  renderer.emit({ ...phase('preparing', 0), total: 200 } as Event);
  for (const step of [5, 10]) {
    vi.advanceTimersByTime(60_000);
    renderer.emit(phase('preparing', step));
  }
  expect(written).toMatch(/preparing {2}50 % {2}5\/10.*preparing {2}100 % {2}10\/10/s);
});
