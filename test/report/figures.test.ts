import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Event } from '../../cli/common/events.js';
import { curveOf, finalsOf, groupsOf } from '../../cli/report/groups.js';
import { chosen } from '../../cli/report/images.js';
import { momentOf, readRuns, ThinnedPoints } from '../../cli/report/read.js';
import { temporaryFolder } from '../run_drm.js';
import { pageOf } from './checked_page.js';
import { type FakeRun, metric, run, started, writeRun } from './fake_runs.js';

describe('the figures', () => {
  const read = async (...runs: FakeRun[]) => {
    const folder = temporaryFolder();
    return readRuns(runs.map((one, i) => writeRun(join(folder, `run-s${i}`), one)));
  };

  test('device time is that of the processes of each sitting', async () => {
    const [one] = await read(
      run([started({ processes: 4 }), metric(1, {}, 10), metric(2, {}, 20), started(), metric(3, {}, 50)]),
    );
    expect(one?.at).toEqual({ step: 3, updates: 3, device: 4 * 20 + 30 });
    expect(one?.seconds).toBe(50);
  });

  test('device time leaves out what is between steps, where the run says how long they took', async () => {
    const steps = (step: number, seconds: number, step_seconds: number) =>
      ({ ...metric(step, {}, seconds), step_seconds }) as Event;
    const [one, old, both] = await read(
      run([started({ processes: 2 }), steps(1, 10, 4), steps(2, 30, 9), started(), steps(3, 90, 19)]),
      run([started(), metric(1, {}, 10)], { of: 'old' }),
      run([started(), metric(1, {}, 10), started(), steps(2, 90, 14)], { of: 'both' }),
    );
    expect([one?.at.device, one?.seconds, one?.wholeTime]).toEqual([2 * 9 + 10, 90, false]);
    expect([old?.at.device, old?.wholeTime]).toEqual([10, true]);
    expect([both?.at.device, both?.wholeTime]).toEqual([14, true]);
  });

  test('updates are those that the run counts, or its steps times those of each', async () => {
    const [counted, told] = await read(
      run([started(), metric(5, { updates: 9 }), { event: 'evaluation', step: 5, values: { judge: 1 } }], {}, 'grpo'),
      run([started(), metric(5, {})], { updates_per_iteration: 2 }, 'grpo'),
    );
    expect([counted?.at.updates, told?.at.updates]).toEqual([9, 10]);
    expect(counted?.evaluations[0]).toMatchObject({ step: 5, updates: 9, device: 5 });
  });

  test('the moment of a step between and beyond those that are known', () => {
    const known = [
      { step: 10, updates: 20, device: 100 },
      { step: 20, updates: 40, device: 300 },
    ];
    expect(momentOf(0, known)).toEqual({ step: 0, updates: 0, device: 0 });
    expect(momentOf(15, known)).toEqual({ step: 15, updates: 30, device: 200 });
    expect(momentOf(30, known)).toEqual({ step: 30, updates: 60, device: 450 });
    expect(momentOf(3, [])).toEqual({ step: 3, updates: 3, device: 0 });
  });

  test('seeds: their mean and what they span, as far as all have come; the last of those that are done', async () => {
    const done: Event = { event: 'done', seconds: 1, facts: {} };
    const line = (values: number[], seed: number, slower: number): FakeRun =>
      run(
        [
          started(),
          ...values.map((loss, i) => metric(i + 1, { loss }, (i + 1) * slower)),
          ...(seed === 0 ? [done] : []),
        ],
        {
          seed,
          batch: 2,
        },
      );
    const runs = await read(
      line([8, 6, 4, 2], 0, 1),
      line([4, 2, 2], 1, 3),
      run([started(), metric(1, { loss: 1 })], { batch: 3 }),
    );
    const groups = groupsOf(runs);
    expect(groups.map(({ label }) => label)).toEqual(['run (2 seeds)', 'run-s2']);
    const [first] = groups as [(typeof groups)[number]];
    expect(curveOf(first, 'metrics', 'loss', 'device')).toEqual({
      points: [
        { x: 2, y: 6 },
        { x: 4, y: 4 },
        { x: 6, y: 3 },
      ],
      band: [
        { x: 2, low: 4, high: 8 },
        { x: 4, low: 2, high: 6 },
        { x: 6, low: 2, high: 4 },
      ],
      tails: [
        [
          { x: 3, y: 4 },
          { x: 4, y: 2 },
        ],
      ],
    });
    expect(finalsOf(first, 'metrics', 'loss')).toEqual({ mean: 2, low: 2, high: 2, n: 1 });
    expect(curveOf(first, 'metrics', 'accuracy', 'step').points).toEqual([]);
  });

  test('a value that was not finite is a gap', async () => {
    const folder = temporaryFolder();
    const values = [1, 2, null, 4, 5];
    writeRun(folder, run([started(), ...values.map((loss, i) => metric(i + 1, { loss }))]));
    const page = await pageOf([folder]);
    const [chart] = page.split('<b>Loss</b>').slice(1);
    expect(
      chart
        ?.slice(0, chart.indexOf('</svg>'))
        .match(/<path class="line"[^>]* d="([^"]*)"/)?.[1]
        ?.match(/M/g),
    ).toHaveLength(2);
  });

  test('a million steps are as many points as fit, each the mean of its neighbours', () => {
    const points = new ThinnedPoints();
    for (let step = 1; step <= 100_000; step++)
      points.add({ step, updates: step, device: step, values: { loss: step } });
    const all = points.all();
    expect(all.length).toBeLessThan(2100);
    expect(all.at(-1)?.step).toBe(100_000);
    const each = (all[1]?.step ?? 0) - (all[0]?.step ?? 0);
    expect(all[0]?.values.loss).toBe((1 + each) / 2);
  });

  test('of many sheets the first, the last and some between', () => {
    const all = Array.from({ length: 20 }, (_, i) => i);
    expect(chosen(all, 4)).toEqual([0, 6, 13, 19]);
    expect(chosen(all, 1)).toEqual([19]);
    expect(chosen(all, 99)).toEqual(all);
  });
});
