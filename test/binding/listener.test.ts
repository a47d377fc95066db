import { expect, test } from 'vitest';
import { runJob } from '../../binding/job.js';
import type { TestJobOptions } from '../../binding/native.js';
import type { JobOptions, NativeEvent, Progress } from '../../binding/types.js';

const testJob = (options: TestJobOptions, job: JobOptions = {}) =>
  runJob(job, (addon, listen) => addon.testJob(options, listen));

function block(millis: number) {
  const until = performance.now() + millis;
  while (performance.now() < until);
}

test('events arrive in order and none is lost, however slow the listener', async () => {
  const seen: number[] = [];
  await testJob(
    { steps: 100, events: 3, reports: 5 },
    {
      onEvent: (event) => {
        if (seen.length < 30) block(2);
        seen.push(event.index as number);
      },
    },
  );
  expect(seen).toEqual(Array.from({ length: 300 }, (_, i) => i));
});

test('all events arrive before the job settles', async () => {
  let seen = 0;
  await expect(
    testJob(
      { steps: 10, events: 10, fail: 'NOT_FINITE' },
      {
        onEvent: () => {
          ++seen;
        },
      },
    ),
  ).rejects.toThrow();
  expect(seen).toBe(100);
});

test('progress is the latest value, never an older one after a newer one', async () => {
  const seen: Progress[] = [];
  await testJob(
    { steps: 1000, reports: 20 },
    {
      onProgress: (progress) => {
        block(1);
        seen.push(progress);
      },
    },
  );
  const steps = seen.map((progress) => progress.step);
  expect(steps).toEqual([...steps].sort((a, b) => a - b));
  expect(new Set(steps).size).toBe(steps.length);
  expect(steps.length).toBeLessThan(2000); // of 20,000 reports; the job did not wait for the listener
  expect(seen.at(-1)).toEqual({ phase: 'test', step: 20_000, total: 20_000, seconds: 0 });
});

test('progress keeps its place among events', async () => {
  const order: string[] = [];
  await testJob(
    { steps: 3, millis: 20, reports: 1, events: 1 },
    {
      onProgress: (progress) => order.push(`progress ${progress.step}`),
      onEvent: (event) => order.push(`event ${event.index}`),
    },
  );
  expect(order).toEqual(['progress 1', 'event 0', 'progress 2', 'event 1', 'progress 3', 'event 2']);
});

test('fields keep their types, bytes are a Uint8Array with memory of its own', async () => {
  const seen: NativeEvent[] = [];
  await testJob({ steps: 2, events: 1, bytes: 5 }, { onEvent: (event) => seen.push(event) });
  expect(seen).toEqual([
    { kind: 'test', index: 0, last: false, note: 'ok', bytes: new Uint8Array([0, 0, 0, 0, 0]) },
    { kind: 'test', index: 1, last: false, note: 'ok', bytes: new Uint8Array([1, 1, 1, 1, 1]) },
  ]);
  seen[0]?.bytes?.fill(9);
  expect(seen[1]?.bytes).toEqual(new Uint8Array([1, 1, 1, 1, 1]));
});

test('an event without bytes has none', async () => {
  let event: NativeEvent | undefined;
  await testJob(
    { steps: 1, events: 1 },
    {
      onEvent: (one) => {
        event = one;
      },
    },
  );
  expect(event && 'bytes' in event).toBe(false);
});

test.each([
  ['an Error', new Error('from the listener')],
  ['a DrmError look-alike', Object.assign(new Error('look-alike'), { code: 'BAD_FILE' })],
  ['a string', 'thrown'],
  ['undefined', undefined],
])('a listener that throws %s cancels the job, which rejects with just that', async (_, thrown) => {
  let calls = 0;
  const started = performance.now();
  const outcome = await testJob(
    { steps: 100_000, millis: 1, reports: 1, events: 1 },
    {
      onEvent: () => {
        ++calls;
        throw thrown;
      },
    },
  ).then(
    () => 'resolved',
    (error) => ({ error }),
  );
  expect(outcome).toEqual({ error: thrown });
  if (typeof outcome === 'object') expect(outcome.error).toBe(thrown);
  expect(calls).toBe(1);
  expect(performance.now() - started).toBeLessThan(10_000);
});

test('a listener that throws at the very last message still fails the job', async () => {
  const thrown = new Error('last');
  const job = testJob(
    { steps: 1, events: 1 },
    {
      onEvent: () => {
        throw thrown;
      },
    },
  );
  await expect(job).rejects.toBe(thrown);
});
