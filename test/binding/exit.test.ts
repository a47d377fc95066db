// However a process leaves, it leaves: no hang, no crash, the exit code that was asked for.
import { describe, expect, test } from 'vitest';
import { dist, resultOf, runScript } from './process.js';

// A job that would go on for minutes.
const endless = '{ steps: 100000, millis: 5, reports: 2, events: 1, bytes: 1000 }';

describe('a process with jobs', () => {
  test('ends by itself after the last one', async () => {
    const ended = await runScript('await testJob({ steps: 3, millis: 1 });');
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' });
  });

  test('stays alive until they end, even if nobody waits', async () => {
    const ended = await runScript(
      `native().testJob({ steps: 4, millis: 50, events: 1 }, (kind, event) => kind === 'event' && console.log(event.index));`,
    );
    expect(ended).toMatchObject({ code: 0, signal: null });
    expect(ended.stdout).toBe('0\n1\n2\n3\n');
  });

  test.each([
    ['before the first step ends', 0],
    ['in the middle', 40],
  ])('leaves by process.exit() %s', async (_, delay) => {
    const ended = await runScript(`testJob(${endless}); setTimeout(() => process.exit(7), ${delay});`);
    expect(ended).toMatchObject({ code: 7, signal: null, stderr: '' });
  });

  test('leaves by process.exit() from a listener', async () => {
    const ended = await runScript(`testJob(${endless}, { onEvent: () => process.exit(9) });`);
    expect(ended).toMatchObject({ code: 9, signal: null, stderr: '' });
  });

  test('does not wait for a long step: exit means now', async () => {
    const ended = await runScript(`testJob({ steps: 1, millis: 20000 }); setTimeout(() => process.exit(7), 50);`);
    expect(ended).toMatchObject({ code: 7, signal: null, stderr: '' });
    expect(ended.millis).toBeLessThan(10_000);
  });

  test('runs the exit listeners of others first', async () => {
    const ended = await runScript(
      `testJob({ steps: 1, millis: 20000 }); process.on('exit', () => console.log('saved')); setTimeout(() => process.exit(3), 50);`,
    );
    expect(ended).toMatchObject({ code: 3, stdout: 'saved\n' });
  });

  test('leaves with many jobs at once', async () => {
    const ended = await runScript(
      `for (let i = 0; i < 20; ++i) testJob(${endless}); setTimeout(() => process.exit(5), 60);`,
    );
    expect(ended).toMatchObject({ code: 5, signal: null, stderr: '' });
  });

  test('dies of an uncaught throw as any process does', async () => {
    const ended = await runScript(`testJob(${endless}); setTimeout(() => { throw new Error('on purpose'); }, 30);`);
    expect(ended).toMatchObject({ code: 1, signal: null });
    expect(ended.stderr).toContain('on purpose');
  });

  test('dies of an unhandled failure of a job', async () => {
    const ended = await runScript(`testJob({ steps: 1, fail: 'BAD_FILE' });`);
    expect(ended).toMatchObject({ code: 1, signal: null });
    expect(ended.stderr).toContain('[testJob] asked to fail');
    expect(ended.stderr).toContain("code: 'BAD_FILE'");
  });

  test('dies of SIGTERM', async () => {
    const ended = await runScript(`testJob(${endless}); setTimeout(() => process.kill(process.pid, 'SIGTERM'), 30);`);
    expect(ended).toMatchObject({ code: null, signal: 'SIGTERM' });
  });

  test('leaves at any moment', async () => {
    for (let i = 0; i < 12; ++i) {
      const script = `testJob({ steps: 100000, millis: 0, reports: 1, events: 1, bytes: 100 }); setTimeout(() => process.exit(7), ${Math.random() * 30});`;
      expect(await runScript(script)).toMatchObject({ code: 7, signal: null, stderr: '' });
    }
  });
});

describe('worker threads', () => {
  const worker = (body: string) =>
    `new Worker(\`import('${dist('binding/native.js')}').then(({ native }) => { ${body} });\`, { eval: true })`;

  test('are terminated at any moment of a job', async () => {
    const ended = await resultOf<number>(
      `let ended = 0;
       for (let i = 0; i < 40; ++i) {
         const worker = ${worker(`native().testJob(${endless}, () => {}); native().testJob({ steps: 1e6, reports: 5, events: 2, bytes: 64 }, () => {});`)};
         await new Promise((go) => worker.once('online', go));
         await sleep(Math.random() * 60);
         await worker.terminate();
         ++ended;
       }
       print(ended);`,
    );
    expect(ended).toBe(40);
  });

  test('may leave by process.exit()', async () => {
    const code = await resultOf<number>(
      `const worker = ${worker(`native().testJob(${endless}, () => {}); setTimeout(() => process.exit(4), 30);`)};
       print(await new Promise((done) => worker.once('exit', done)));`,
    );
    expect(code).toBe(4);
  });

  test('work side by side, each with the addon of its own', async () => {
    const results = await resultOf<number[]>(
      `const all = [1, 2, 3, 4].map((i) => {
         const worker = ${worker(`
           let events = 0;
           native().testJob({ steps: 50, millis: 1, events: 2 }, (kind) => { if (kind === 'event') ++events; }).promise
             .then(({ value }) => import('node:worker_threads').then((w) => w.parentPort.postMessage(value + events)));`)};
         return new Promise((done) => worker.once('message', done));
       });
       all.push(testJob({ steps: 50, millis: 1 }));
       print(await Promise.all(all));`,
    );
    expect(results).toEqual([150, 150, 150, 150, 50]);
  });

  test('do not outlive the main thread', async () => {
    const script = `${worker(`native().testJob(${endless}, () => {});`)}; setTimeout(() => process.exit(6), 150);`;
    expect(await runScript(script)).toMatchObject({ code: 6, signal: null, stderr: '' });
  });
});
