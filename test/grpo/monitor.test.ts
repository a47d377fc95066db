// Warnings in words: each is given when it should be, once, and not when all is well.
import { describe, expect, test } from 'vitest';
import { type Evaluated, Monitor, type MonitorOptions, type Rule } from '../../cli/grpo/monitor.js';
import type { Values } from '../../cli/train/training_task.js';

const WELL: Values = {
  group_deviation: 0.3,
  zero_variance: 0.1,
  ratio: 1,
  clip_fraction: 0.2,
  kl: 0.01,
  grad_norm: 0.5,
};

const monitoring = (options: Partial<MonitorOptions> = {}) => new Monitor({ clipRange: 1e-4, updates: 2, ...options });

/** Feeds iterations; returns what was warned of, with the iteration. */
function fed(monitor: Monitor, iterations: Values[]): { at: number; rule: Rule; message: string }[] {
  return iterations.flatMap((values, at) => monitor.iteration(values).map((alarm) => ({ at, ...alarm })));
}
const times = (n: number, values: (i: number) => Values) =>
  Array.from({ length: n }, (_, i) => ({ ...WELL, ...values(i) }));
const rules = (alarms: { rule: Rule }[]) => alarms.map(({ rule }) => rule);

test('a run that goes well is not warned of', () => {
  const wobble = times(200, (i) => ({
    group_deviation: 0.3 + 0.05 * Math.sin(i),
    kl: 0.001 * i,
    grad_norm: 0.5 + 0.3 * Math.cos(i),
  }));
  expect(fed(monitoring(), wobble)).toEqual([]);
});

describe('iterations', () => {
  test('rewards that become equal: once, and again when it comes back', () => {
    const monitor = monitoring();
    const well = times(10, () => ({}));
    const equal = times(8, () => ({ group_deviation: 0.003 }));
    const alarms = fed(monitor, [...well, ...equal, ...well, ...equal]);
    expect(rules(alarms)).toEqual(['rewards-equal', 'rewards-equal']);
    expect(alarms[0]?.message).toMatch(/0\.00300, 1 % of what it was/);
  });
  test('rewards that were equal from the beginning', () => {
    expect(
      rules(
        fed(
          monitoring(),
          times(5, () => ({ group_deviation: 0 })),
        ),
      ),
    ).toContain('rewards-equal');
  });
  test('groups that are equal, most of them', () => {
    expect(
      rules(
        fed(
          monitoring(),
          times(5, () => ({ zero_variance: 0.6 })),
        ),
      ),
    ).toEqual(['groups-equal']);
    expect(
      fed(
        monitoring(),
        times(5, (i) => ({ zero_variance: i === 2 ? 1 : 0.2 })),
      ),
    ).toEqual([]); // one odd iteration
  });
  test('a ratio that drifts', () => {
    const [alarm] = fed(
      monitoring(),
      times(5, () => ({ ratio: 1 - 3e-4 })),
    );
    expect(alarm?.rule).toBe('ratio-drifts');
    expect(alarm?.message).toContain('3.00 clip ranges');
    expect(
      fed(
        monitoring({ clipRange: 1e-3 }),
        times(5, () => ({ ratio: 1 - 3e-4 })),
      ),
    ).toEqual([]);
  });
  test('ratios that are clipped: of two updates only the second can be', () => {
    expect(
      rules(
        fed(
          monitoring(),
          times(5, () => ({ clip_fraction: 0.45 })),
        ),
      ),
    ).toEqual(['ratio-clipped']);
    expect(
      fed(
        monitoring({ updates: 4 }),
        times(5, () => ({ clip_fraction: 0.45 })),
      ),
    ).toEqual([]);
    expect(
      fed(
        monitoring({ updates: 1 }),
        times(5, () => ({ clip_fraction: 0.02 })),
      )[0]?.message,
    ).toContain('disagree');
  });
  test('a divergence that grows fast', () => {
    const grows = times(60, (i) => ({ kl: i < 45 ? 0.01 : 0.01 * 1.5 ** (i - 44) }));
    expect(rules(fed(monitoring(), grows))).toEqual(['kl-grows']);
  });
  test('a gradient that jumps', () => {
    const alarms = fed(
      monitoring(),
      times(30, (i) => ({ grad_norm: i === 20 ? 6 : 0.5 })),
    );
    expect(alarms.map(({ at, rule }) => [at, rule])).toEqual([[20, 'gradient-jumps']]);
  });
  test('figures that are missing or no numbers are passed over', () => {
    expect(fed(monitoring(), Array(20).fill({}))).toEqual([]);
    expect(
      fed(
        monitoring(),
        times(20, () => ({ group_deviation: Number.NaN, grad_norm: Number.NaN })),
      ),
    ).toEqual([]);
  });
});

describe('evaluations', () => {
  const IMAGES = { brightness: 0.8, saturation: 0.2, high_frequency: 0.03 };
  const look = (step: number, judge: number, reward: number, more: Values = {}): Evaluated => ({
    step,
    values: { ...IMAGES, judge, reward, ...more },
    judged: Array.from({ length: 16 }, (_, i) => judge + 0.05 * Math.sin(7 * i) + 0.005 * Math.sin(step + i)),
  });
  const seen = (monitor: Monitor, ...looks: Evaluated[]) =>
    looks.flatMap((one) => monitor.evaluation(one).map(({ rule, message }) => ({ step: one.step, rule, message })));

  test('a judge that falls while the reward rises, at two evaluations in a row', () => {
    const alarms = seen(
      monitoring(),
      ...[look(0, 0.7, 1), look(10, 0.72, 1.5), look(20, 0.69, 2), look(30, 0.66, 2.5), look(40, 0.64, 3)],
    );
    expect(alarms.map(({ step, rule }) => [step, rule])).toEqual([[30, 'judge-falls']]);
    expect(alarms[0]?.message).toMatch(/0\.723 after 10 iterations, 0\.664 now.*same 16 prompts.*1\.50 → 2\.50/);
  });
  test('not when the reward falls, too, nor when the judge only wavers', () => {
    expect(seen(monitoring(), look(0, 0.7, 1), look(10, 0.66, 0.9), look(20, 0.64, 0.8))).toEqual([]);
    expect(seen(monitoring(), look(0, 0.7, 1), look(10, 0.6995, 2), look(20, 0.6993, 3))).toEqual([]);
    expect(seen(monitoring(), look(0, 0.7, 1), look(10, 0.66, 2), look(20, 0.7, 3), look(30, 0.66, 4))).toEqual([]);
  });
  test('images that turn dark, lurid, grainy', () => {
    const changed = { brightness: 0.4, saturation: 0.35, high_frequency: 0.06 };
    const [alarm] = seen(monitoring(), look(0, 0.7, 1), look(10, 0.7, 1, changed));
    expect(alarm?.rule).toBe('images-change');
    for (const word of ['dark', 'lurid', 'grainy']) expect(alarm?.message).toContain(word);
    expect(seen(monitoring(), look(0, 0.7, 1), look(10, 0.7, 1, { brightness: 0.7, saturation: 0.25 }))).toEqual([]);
  });
  test('without a judge the images are looked at all the same', () => {
    const blind = (step: number, more: Values): Evaluated => ({ step, values: { ...IMAGES, ...more }, judged: [] });
    expect(rules(seen(monitoring(), blind(0, {}), blind(10, { high_frequency: 0.01 })))).toEqual(['images-change']);
  });
});

test('a monitor that is saved and taken up again says what it would have said', () => {
  const iterations = times(40, (i) => ({ group_deviation: i < 20 ? 0.3 : 0.3 * 0.8 ** (i - 20), grad_norm: 0.5 }));
  const whole = fed(monitoring(), iterations);
  const first = monitoring();
  const before = fed(first, iterations.slice(0, 25));
  const again = new Monitor({ clipRange: 1e-4, updates: 2 }, JSON.parse(JSON.stringify(first.state)));
  const after = fed(again, iterations.slice(25)).map((alarm) => ({ ...alarm, at: alarm.at + 25 }));
  expect(whole.length).toBeGreaterThan(0);
  expect([...before, ...after]).toEqual(whole);
});
