// The training view at fixed widths, and the state behind it.
import { render } from 'ink-testing-library';
import { expect, test } from 'vitest';
import type { Event } from '../../cli/common/events.js';
import { figure, Means, metricLine, shortNumber } from '../../cli/ui/figures.js';
import { resample, sparkline } from '../../cli/ui/sparkline.js';
import { initialState, reduce, type State } from '../../cli/ui/state.js';
import { Curve, Progress, Title, TrainingView } from '../../cli/ui/TrainingView.js';
import { curves, numbers, type Training } from '../../cli/ui/training.js';
import { View } from '../../cli/ui/View.js';

const style = (width: number, height = 24) => ({ color: false, width, height });

const started: Event = {
  event: 'started',
  version: 1,
  command: 'grpo --step',
  steps: 400,
  facts: { model: 'tiny', data: 'emoji', device: 'cuda', config: 'grpo/tiny', candidates: 6, run: 'runs/a' },
};
const metric = (step: number, more: Record<string, number> = {}): Event => ({
  event: 'metric',
  step,
  total: 400,
  seconds: step * 2,
  seconds_left: (400 - step) * 2,
  values: {
    loss: 1 / step,
    grad_norm: step % 2,
    reward: step / 100,
    clip_fraction: 0.123,
    learning_rate: 1.5e-4,
    samples_per_second: 245.2,
    data_wait: 0.021,
    memory_mb: 1234,
    ...more,
  },
});
const after = (...events: Event[]): State => [started, ...events].reduce(reduce, initialState);
const training = (state: State): Training => {
  if (!state.training) throw new Error('no training in this state');
  return state.training;
};
const steps = (n: number) => Array.from({ length: n }, (_, i) => metric(i + 1));
const busy = after(
  ...steps(100),
  { event: 'evaluation', step: 100, values: { reward: 0.912, fid: 31.4 } },
  { event: 'checkpoint', step: 80, path: 'runs/a/checkpoints/80' },
  { event: 'sample_sheet', step: 100, paths: ['runs/a/samples/100/sheet.png'] },
  { event: 'warning', message: 'clip fraction is high: 0.62 of the ratios lie outside the range' },
);

const frame = (state: State, width: number, height = 24) =>
  render(<TrainingView training={training(state)} style={style(width, height)} />).lastFrame() ?? '';

test('80 columns', () => {
  expect(frame(busy, 80)).toMatchInlineSnapshot(`
    "drm grpo --step · tiny · emoji · cuda · grpo/tiny · candidates 6
    ████████░░░░░░░░░░░░░░░░░░░░░░░  25 %  step 100/400 · 2.0 s/step · 10 min left
    loss            0.0105  █▃▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  0.0100 – 1.00
    reward           0.955  ▁▁▁▂▂▂▂▂▃▃▃▃▃▄▄▄▄▄▅▅▅▅▅▆▆▆▆▇▇▇▇▇███  0.0100 – 1.00
    clip fraction   12.3 %  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
    grad             0.500  ▅█▁█▁█▁▅█▁█▁█▁▅█▁█▁█▁▅█▁█▁█▁▅█▁█▁█▁  0 – 1.00
    curves of the last 3 min
    lr 1.5e-4 · 245 samples/s · waiting for data 2.1 % · memory 1.2 GB
    evaluation 100: reward 0.912 · fid 31.4
    checkpoint runs/a/checkpoints/80
    images runs/a/samples/100/sheet.png
    1 warning, the last: clip fraction is high: 0.62 of the ratios lie outside the …"
  `);
});

test('60 columns: no range beside the curves', () => {
  expect(frame(busy, 60)).toMatchInlineSnapshot(`
    "drm grpo --step · tiny · emoji · cuda · grpo/tiny · candida…
    ███░░░░░░░░  25 %  step 100/400 · 2.0 s/step · 10 min left
    loss            0.0105  █▃▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
    reward           0.955  ▁▁▁▂▂▂▂▂▃▃▃▃▃▄▄▄▄▄▅▅▅▅▅▆▆▆▆▇▇▇▇▇███
    clip fraction   12.3 %  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
    grad             0.500  ▅█▁█▁█▁▅█▁█▁█▁▅█▁█▁█▁▅█▁█▁█▁▅█▁█▁█▁
    curves of the last 3 min
    lr 1.5e-4 · 245 samples/s · waiting for data 2.1 %
    memory 1.2 GB
    evaluation 100: reward 0.912 · fid 31.4
    checkpoint runs/a/checkpoints/80
    images runs/a/samples/100/sheet.png
    1 warning, the last: clip fraction is high: 0.62 of the rat…"
  `);
});

test.each([
  [80, 24],
  [60, 24],
  [30, 24],
  [12, 24],
  [80, 12],
])('fits %i x %i, however much there is to show', (width, height) => {
  const many = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`accuracy_at_timestep_${i * 33}`, 0.5]));
  const full = [...steps(300), metric(301, many)].reduce(reduce, busy);
  const lines = frame(full, width, height).split('\n');
  expect(lines.length).toBeLessThan(height);
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(width);
});

test('before the first step there is something to see', () => {
  expect(frame(after(), 80)).toBe(
    `drm grpo --step · tiny · emoji · cuda · grpo/tiny · candidates 6\n${'░'.repeat(40)}   0 %  step 0/400`,
  );
});

test('title and progress by themselves', () => {
  const state = training(after(metric(100)));
  expect(render(<Title training={state} style={style(80)} />).lastFrame()).toContain('drm grpo --step · tiny · emoji');
  expect(render(<Progress training={state} style={style(80)} />).lastFrame()).toBe(
    '████████░░░░░░░░░░░░░░░░░░░░░░░  25 %  step 100/400 · 2.0 s/step · 10 min left',
  );
  expect(render(<Progress training={state} style={style(40)} />).lastFrame()).toBe(
    ' 25 %  step 100/400 · 2.0 s/step · 10 min left',
  );
});

test('a curve says its name, its value and its range', () => {
  const values = Array.from({ length: 16 }, (_, i) => i);
  const curve = (width: number) =>
    render(<Curve series={{ name: 'reward', value: 15, values }} nameWidth={8} style={style(width)} />).lastFrame();
  expect(curve(80)).toBe('reward       15.0  ▁▁▂▂▃▃▄▄▅▅▆▆▇▇██                          0 – 15.0');
  expect(curve(40)).toBe('reward       15.0  ▁▁▂▂▃▃▄▄▅▅▆▆▇▇██');
  expect(curve(24)).toBe('reward       15.0');
});

test('sparklines: level lines, gaps, more values than room', () => {
  expect(sparkline([])).toBe('');
  expect(sparkline([5, 5, 5])).toBe('▁▁▁');
  expect(sparkline([0, Number.NaN, 7, Number.POSITIVE_INFINITY])).toBe('▁ █ ');
  expect(resample([1, 3, 5, 7, Number.NaN, 9], 3)).toEqual([2, 6, 9]);
  expect(resample([1, 2], 3)).toEqual([1, 2]);
});

test('steps of one second are one point, old ones go', () => {
  const fast = Array.from({ length: 1000 }, (_, i): Event => ({ ...metric(i + 1), seconds: (i + 1) / 8 }) as Event);
  const state = training(after(...fast));
  expect(state.points.length).toBe(125);
  expect(state.points[50]?.values.reward).toBeCloseTo(4.045, 9); // the mean of steps 401 to 408
  expect(training(after(...steps(400))).points.length).toBe(300);
});

test('curves: the loss first, the gradient norm last; numbers have none', () => {
  const state = training(busy);
  expect(curves(state).map(({ name }) => name)).toEqual(['loss', 'reward', 'clip_fraction', 'grad_norm']);
  expect(numbers(state).map(({ name }) => name)).toEqual([
    'learning_rate',
    'samples_per_second',
    'data_wait',
    'memory_mb',
  ]);
  expect(curves(state).find(({ name }) => name === 'reward')?.value).toBeCloseTo(0.955, 6); // of steps 91 to 100
});

test('the view goes when training ends, and leaves the last of everything', () => {
  const { lines, training: gone } = reduce(busy, { event: 'done', seconds: 900, facts: { steps: 400 } });
  expect(gone).toBeUndefined();
  expect(lines.map(({ text }) => text)).toEqual([
    'warning: clip fraction is high: 0.62 of the ratios lie outside the range',
    'grpo --step: model tiny · data emoji · device cuda · config grpo/tiny · candidates 6 · run runs/a',
    'step 100/400  loss 0.0105  reward 0.955  clip fraction 12.3 %  grad 0.500  lr 1.5e-4  245 samples/s  waiting for data 2.1 %  memory 1.2 GB',
    'evaluation after step 100: reward 0.912 · fid 31.4',
    'images after step 100: runs/a/samples/100/sheet.png',
    'checkpoint: runs/a/checkpoints/80',
    'done in 15 min: steps 400',
  ]);
  const view = render(<View state={busy} style={style(80)} />).lastFrame();
  expect(view).toContain('warning: clip fraction is high');
  expect(view).toContain('loss');
});

test('a metric without a started event is harmless', () => {
  expect(reduce(initialState, metric(1))).toEqual(initialState);
});

test('numbers that people read', () => {
  const texts = [0, 1, 0.5, 123.4, 9999, 12345, 1e7, 0.00123, 1.5e-4, -2, Number.NaN, Number.NEGATIVE_INFINITY].map(
    shortNumber,
  );
  expect(texts).toEqual([
    '0',
    '1.00',
    '0.500',
    '123',
    '9999',
    '12345',
    '1.00e7',
    '0.00123',
    '1.5e-4',
    '-2.00',
    'NaN',
    '-inf',
  ]);
  expect([figure('data_wait', 0.5), figure('memory_mb', 1500), figure('pairs_per_second', 3)]).toEqual([
    'waiting for data 50 %',
    'memory 1.5 GB',
    '3.00 pairs/s',
  ]);
  expect(metricLine(10, 40, { loss: 0.25 }, 90)).toBe('step 10/40  loss 0.250  90 s left');
  expect(metricLine(40, 40, { loss: 0.25 }, 0)).toBe('step 40/40  loss 0.250');
  const means = new Means();
  means.add({ loss: 1, accuracy: Number.NaN });
  means.add({ loss: 2 });
  expect(means.take()).toEqual({ loss: 1.5, accuracy: Number.NaN });
  expect(means.take()).toEqual({});
});

test('a reward model: accuracy and that of each part of the timesteps, all in 24 rows', () => {
  const learnt = (step: number, low: number): Event => {
    const parts = { accuracy_t0_250: low, accuracy_t250_500: 0.8, accuracy_t500_750: 0.7, accuracy_t750_1000: 0.6 };
    const speed = { pairs_per_second: 41.5, data_wait: 0.004, memory_mb: 912, learning_rate: 3e-4 };
    const values = { accuracy: 0.5 + step / 300, margin: step / 50, ...parts, loss: 0.7 - step / 400, grad_norm: 1.1 };
    return { event: 'metric', step, total: 400, seconds: 2 * step, seconds_left: 9, values: { ...values, ...speed } };
  };
  const state = after(
    ...Array.from({ length: 60 }, (_, i) => learnt(i + 1, i % 2)),
    { event: 'evaluation', step: 60, values: { accuracy: 0.8125, margin: 1.2, loss: 0.41 } },
    { event: 'checkpoint', step: 50, path: 'runs/reward/checkpoints/50' },
  );
  const shown = frame(state, 80);
  expect(shown).toMatchInlineSnapshot(`
    "drm grpo --step · tiny · emoji · cuda · grpo/tiny · candidates 6
    █████░░░░░░░░░░░░░░░░░░░░░░░░░░░░  15 %  step 60/400 · 38 steps/s · 9.0 s left
    loss                 0.561  ███▇▇▇▇▆▆▆▆▅▅▅▅▅▄▄▄▄▃▃▃▃▂▂▂▂▁▁▁  0.550 – 0.698
    accuracy            68.5 %  ▁▁▁▂▂▂▂▃▃▃▃▄▄▄▄▄▅▅▅▅▆▆▆▆▇▇▇▇███  50.3 % – 70 %
    margin                1.11  ▁▁▁▂▂▂▂▃▃▃▃▄▄▄▄▄▅▅▅▅▆▆▆▆▇▇▇▇███  0.0200 – 1.20
    accuracy 0–250        50 %  ▁▅▅▅▅▅▅▅▅▅▅▅▅▅▅█▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅  0 % – 100 %
    accuracy 250–500      80 %  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
    accuracy 500–750      70 %  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
    accuracy 750–1000     60 %  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
    grad                  1.10  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
    curves of the last 2 min
    lr 3.0e-4 · 41.5 pairs/s · waiting for data 0.4 % · memory 912 MB
    evaluation 60: accuracy 81.3 % · margin 1.20 · loss 0.410
    checkpoint runs/reward/checkpoints/50"
  `);
  expect(shown.split('\n').length).toBeLessThan(24);
});

test('a policy: reward, judge, ratio and their like in 24 rows; single denoising steps are left out', () => {
  const learnt = (step: number): Event => {
    const policy = {
      loss: -0.001,
      policy_loss: -0.001,
      kl: step * 1e-5,
      ratio: 1 + step * 1e-7,
      ratio_deviation: 1e-4,
    };
    const group = {
      clip_fraction: 0.21,
      grad_norm: 0.5,
      reward: step / 50,
      group_deviation: 0.4,
      zero_variance: 0.125,
    };
    const steps = { 'reward/0': 3, 'reward/1': 4, 'ratio_deviation/0': 1e-5 };
    const time = {
      rollout_seconds: 4.04,
      reward_seconds: 1.2,
      update_seconds: 12.3,
      samples_per_second: 2.6,
      memory_mb: 950,
    };
    const values = { ...policy, ...group, ...steps, ...time, updates: 2 * step, learning_rate: 1e-4, data_wait: 0 };
    return { event: 'metric', step, total: 400, seconds: 9 * step, seconds_left: 9, values };
  };
  const judge = (step: number, value: number): Event => ({
    event: 'evaluation',
    step,
    values: { judge: value, reward: 1.1, saturation: 0.4, 'reward/0': 7 },
  });
  const phase = (step: number, label = 'rollout'): Event => ({
    ...{ event: 'progress', id: label, label, step, total: 10, unit: 'step', seconds: step / 2 },
  });
  const state = after(
    judge(0, 0.2),
    ...Array.from({ length: 40 }, (_, i) => learnt(i + 1)),
    judge(40, 0.25),
    { event: 'checkpoint', step: 40, path: 'runs/a/checkpoints/40' },
    { event: 'sample_sheet', step: 40, paths: ['runs/a/samples/40/sheet.png'] },
    { event: 'warning', message: 'the judge falls while the reward rises' },
    phase(10, 'encode'),
    phase(4),
  );
  const shown = frame(state, 80);
  expect(shown).toMatchInlineSnapshot(`
    "drm grpo --step · tiny · emoji · cuda · grpo/tiny · candidates 6
    ███░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  10 %  step 40/400 · 40 steps/s · 9.0 s left
    rollout  ████████████░░░░░░░░░░░░░░░░░░  40 % 4/10 · 0.50 s/step · 3.0 s left
    reward             0.710  ▁▁▁▂▂▂▂▂▃▃▃▃▄▄▄▄▄▅▅▅▅▆▆▆▆▆▇▇▇▇███  0.0200 – 0.800
    group deviation    0.400  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
    judge              0.250  ▁█                                 0.200 – 0.250
    ratio            1.00000  ▁▁▁▂▂▂▂▂▃▃▃▃▄▄▄▄▄▅▅▅▅▆▆▆▆▆▇▇▇▇███  1.00000 – 1.00000
    ratio deviation   1.0e-4  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
    clip fraction       21 %  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
    kl                3.6e-4  ▁▁▁▂▂▂▂▂▃▃▃▃▄▄▄▄▄▅▅▅▅▆▆▆▆▆▇▇▇▇███  1.0e-5 – 4.0e-4
    grad               0.500  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
    zero variance     12.5 %  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
    loss            -0.00100  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
    curves of the last 6 min; 1 more in metrics.jsonl
    updates 80 · lr 1.0e-4 · 2.60 samples/s · rollout 4.0 s · scoring 1.2 s
    update 12 s · waiting for data 0 % · memory 950 MB
    evaluation 40: judge 0.250 · reward 1.10 · saturation 0.400
    checkpoint runs/a/checkpoints/40
    images runs/a/samples/40/sheet.png
    1 warning, the last: the judge falls while the reward rises"
  `);
  expect(shown.split('\n').length).toBeLessThan(24);
  for (const line of shown.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  expect(state.bars).toEqual([]);
  // A phase that is over stays in sight, so that the view keeps its height.
  expect(frame(reduce(state, phase(10)), 80).split('\n').length).toBe(shown.split('\n').length);
  const { lines } = reduce(state, { event: 'done', seconds: 360, facts: {} });
  expect(lines.map(({ text }) => text).join('\n')).not.toContain('/0');
});

test('of counts the last one holds, not their mean', () => {
  const means = new Means();
  for (const updates of [2, 4, 6]) means.add({ updates, loss: updates });
  expect(means.take()).toEqual({ updates: 6, loss: 4 });
  const fast = Array.from(
    { length: 8 },
    (_, i): Event => ({ ...metric(i + 1, { updates: i + 1 }), seconds: i / 8 }) as Event,
  );
  expect(numbers(training(after(...fast))).find(({ name }) => name === 'updates')?.value).toBe(8);
});
