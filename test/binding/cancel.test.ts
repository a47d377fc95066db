import { getEventListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { runJob } from '../../binding/job.js';
import { native, type TestJobOptions } from '../../binding/native.js';
import type { JobOptions } from '../../binding/types.js';

const testJob = (options: TestJobOptions, job: JobOptions = {}) =>
  runJob(job, (addon, listen) => addon.testJob(options, listen));

test('a job is cancelled at any moment', async () => {
  const outcomes = { CANCELLED: 0, done: 0 };
  for (let i = 0; i < 100; ++i) {
    const controller = new AbortController();
    const job = testJob({ steps: 20, millis: 1, reports: 1, events: 1 }, { signal: controller.signal });
    setTimeout(() => controller.abort(), Math.random() * 40);
    const outcome = await job.then(
      () => 'done' as const,
      (error) => error.code,
    );
    ++outcomes[outcome as keyof typeof outcomes];
  }
  expect(outcomes.CANCELLED + outcomes.done).toBe(100);
  expect(outcomes.CANCELLED).toBeGreaterThan(10);
});

test('cancelling takes one step, not the rest of the job', async () => {
  const controller = new AbortController();
  const job = testJob({ steps: 10_000, millis: 5 }, { signal: controller.signal });
  await sleep(50);
  const asked = performance.now();
  controller.abort();
  await expect(job).rejects.toMatchObject({ name: 'DrmError', code: 'CANCELLED' });
  expect(performance.now() - asked).toBeLessThan(1000);
});

test('a signal that was aborted before starts nothing', async () => {
  let started = false;
  const job = runJob({ signal: AbortSignal.abort('too late') }, (addon, listen) => {
    started = true;
    return addon.testJob({ steps: 1 }, listen);
  });
  await expect(job).rejects.toMatchObject({ code: 'CANCELLED', cause: 'too late' });
  expect(started).toBe(false);
});

test('the reason of the abort is the cause of the error', async () => {
  const reason = new Error('user went away');
  const controller = new AbortController();
  const job = testJob({ steps: 1000, millis: 1 }, { signal: controller.signal });
  controller.abort(reason);
  await expect(job).rejects.toMatchObject({ code: 'CANCELLED', cause: reason });
});

test('cancelling twice, and after the end, does nothing more', async () => {
  const job = native().testJob({ steps: 1000, millis: 1 }, () => {});
  job.cancel();
  job.cancel();
  expect(await job.promise).toMatchObject({ failure: { code: 'CANCELLED' } });
  job.cancel();

  const finished = native().testJob({ steps: 1 }, () => {});
  expect(await finished.promise).toEqual({ value: 1 });
  finished.cancel();
});

test('a long-lived signal collects no listeners', async () => {
  const { signal } = new AbortController();
  for (let i = 0; i < 20; ++i) await testJob({ steps: 1 }, { signal });
  await expect(testJob({ steps: 1, fail: 'DISK' }, { signal })).rejects.toThrow();
  await expect(
    runJob({ signal }, () => {
      throw new Error('refused at once');
    }),
  ).rejects.toThrow('refused at once');
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
});

test('one signal cancels many jobs', async () => {
  const controller = new AbortController();
  const jobs = Array.from({ length: 10 }, () => testJob({ steps: 10_000, millis: 1 }, { signal: controller.signal }));
  await sleep(20);
  controller.abort();
  const outcomes = await Promise.allSettled(jobs);
  expect(outcomes.map((o) => o.status === 'rejected' && o.reason.code)).toEqual(Array(10).fill('CANCELLED'));
});
