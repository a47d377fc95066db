import { expect, test } from 'vitest';
import { resultOf } from './process.js';

test('a job keeps what it works with alive after dispose()', async () => {
  const alive = await resultOf<number[]>(
    `const addon = native();
     const handle = addon.testHandle();
     const counts = [addon.testObjectsAlive()];
     const job = testJob({ steps: 20, millis: 5, handle });
     await sleep(20);
     addon.disposeTestHandle(handle);
     addon.disposeTestHandle(handle);
     counts.push(addon.testObjectsAlive());
     await job;
     counts.push(addon.testObjectsAlive());
     print(counts);`,
  );
  expect(alive).toEqual([1, 1, 0]);
});

test('a disposed handle is refused by name', async () => {
  const error = await resultOf<{ code: string; message: string }>(
    `const handle = native().testHandle();
     native().disposeTestHandle(handle);
     await testJob({ steps: 1, handle }).catch(({ code, message }) => print({ code, message }));`,
  );
  expect(error.code).toBe('BAD_REQUEST');
  expect(error.message).toContain('disposed');
});

test('a handle that nobody holds is collected, but not under a running job', async () => {
  const alive = await resultOf<number[]>(
    `const addon = native();
     const collect = async () => { for (let i = 0; i < 5; ++i) { gc(); await sleep(5); } };
     const job = (() => testJob({ steps: 60, millis: 5, handle: addon.testHandle() }))();
     const counts = [addon.testObjectsAlive()];
     await collect();
     counts.push(addon.testObjectsAlive());
     await job;
     await collect();
     counts.push(addon.testObjectsAlive());
     for (let i = 0; i < 100; ++i) addon.testHandle();
     counts.push(addon.testObjectsAlive() > 50);
     await collect();
     counts.push(addon.testObjectsAlive());
     print(counts);`,
    { args: ['--expose-gc'] },
  );
  expect(alive).toEqual([1, 1, 0, true, 0]);
});

test('worker threads leave no object behind', async () => {
  const alive = await resultOf<number>(
    `import { createRequire } from 'node:module';
     for (let i = 0; i < 10; ++i) {
       const worker = new Worker(\`
         import('${new URL('../../dist/binding/native.js', import.meta.url).href}').then(({ native }) => {
           native().testJob({ steps: 1e6, millis: 1, handle: native().testHandle() }, () => {});
           import('node:worker_threads').then((w) => w.parentPort.postMessage('started'));
         });\`, { eval: true });
       await new Promise((go) => worker.once('message', go));
       await worker.terminate();
     }
     print(native().testObjectsAlive());`,
  );
  expect(alive).toBe(0);
});

test('hundreds of jobs leave nothing behind: memory, threads, files, handles', async () => {
  const growth = await resultOf<{
    rss: number;
    heap: number;
    objects: number;
    threads: number;
    files: number;
    resources: number;
  }>(
    `import { readdirSync } from 'node:fs';
     const measure = async () => {
       for (let i = 0; i < 5; ++i) { gc(); await sleep(10); }
       return {
         rss: process.memoryUsage().rss,
         heap: process.memoryUsage().heapUsed,
         objects: native().testObjectsAlive(),
         threads: readdirSync('/proc/self/task').length,
         files: readdirSync('/proc/self/fd').length,
         resources: process.getActiveResourcesInfo().length,
       };
     };
     const some = async (count) => {
       for (let i = 0; i < count; ++i) {
         // 1 MB of bytes per job: a leak would show as 200 MB, far beyond what allocators keep
         const job = { steps: 4, events: 1, reports: 10, bytes: 262144, handle: native().testHandle() };
         const controller = new AbortController();
         const options = { signal: controller.signal, onEvent: () => {}, onProgress: () => {} };
         if (i % 4 === 1) job.fail = 'BAD_FILE';
         if (i % 4 === 2) options.onEvent = () => { throw new Error('listener'); };
         if (i % 4 === 3) controller.abort();
         await testJob(job, options).catch(() => {});
       }
     };
     await some(100);
     const before = await measure();
     await some(200);
     const after = await measure();
     print(Object.fromEntries(Object.keys(before).map((key) => [key, after[key] - before[key]])));`,
    // One arena: otherwise glibc keeps a few MB for each of the threads that came and went.
    { args: ['--expose-gc'], env: { MALLOC_ARENA_MAX: '1' } },
  );
  expect(growth).toMatchObject({ threads: 0, files: 0, resources: 0 });
  expect(growth.rss).toBeLessThan(60e6);
  expect(growth.heap).toBeLessThan(1e6);
  expect(growth.objects).toBe(0);
});
