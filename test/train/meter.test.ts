// What a run's steps amount to: the steps alone, and figures of which the last one holds.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Meter } from '../../cli/train/meter.js';

test('steps are timed apart from what is between them, over sittings', async () => {
  const meter = new Meter();
  meter.start();
  meter.begin();
  meter.add({ loss: 1 }, 4, 0);
  await sleep(100); // an evaluation
  const { seconds, stepSeconds } = meter.take();
  expect(seconds - stepSeconds).toBeGreaterThan(0.09);
  const resumed = new Meter();
  resumed.restore(meter.state());
  expect(resumed.take().stepSeconds).toBe(stepSeconds);
  // A checkpoint of an older drm says how long all of it took.
  const { stepSeconds: _, ...old } = meter.state();
  resumed.restore(old);
  expect(resumed.take().stepSeconds).toBe(old.seconds);
});

test('means of figures, the last of counts and of the loss scale, also over an interruption', () => {
  const meter = new Meter();
  meter.add({ loss: 1, loss_scale: 65536, overflows: 0, updates: 1 }, 1, 0);
  meter.add({ loss: 3, loss_scale: 32768, overflows: 1, updates: 1 }, 1, 0);
  const resumed = new Meter();
  resumed.restore(JSON.parse(JSON.stringify(meter.state())));
  for (const one of [meter, resumed]) {
    one.add({ loss: 5, loss_scale: 32768, overflows: 2, updates: 1 }, 1, 0);
    expect(one.take().means).toMatchObject({ loss: 3, loss_scale: 32768, overflows: 2, updates: 1 });
  }
});
