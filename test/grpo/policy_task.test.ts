// A policy's iterations against a trainer that samples and learns nothing: what it is asked for, what is made of its
// answers, and what goes wrong.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DrmError } from '../../binding/error.js';
import { RewardParts } from '../../cli/grpo/reward_parts.js';
import { temporaryFolder } from '../run_drm.js';
import { FLOW, reads, STEP, scorer, setUp, sorted, teamOf } from './fake_policy.js';

test('an update that overflows fp16 is not counted as one; its scale and the overflows are shown', async () => {
  const { trainer, step } = setUp({ dtype: 'fp16' });
  const told = [
    { loss_scale: 65536, overflows: 1 },
    { grad_norm: 1, loss_scale: 32768, overflows: 1 },
  ];
  trainer.step = async () => told.shift() ?? { grad_norm: 1, loss_scale: 32768, overflows: 1 };
  expect(await step(0)).toMatchObject({ updates: 1, loss_scale: 32768, overflows: 1, grad_norm: 1 });
  expect(await step(1)).toMatchObject({ updates: 3, loss_scale: 32768, overflows: 1 });
});

describe('what is asked of the trainer', () => {
  test('Flow-GRPO: every trajectory once, in calls of a batch, its group in its place', async () => {
    const { trainer, step } = setUp();
    await step(0);
    await step(1);
    expect(trainer.rollouts.map(({ samples }) => samples)).toEqual([
      ...[[0, 1, 2], [3], [4, 5, 6], [7]],
      ...[[8, 9, 10], [11], [12, 13, 14], [15]],
    ]);
    expect(trainer.rollouts[0]).toMatchObject({
      iteration: 0,
      k: 1,
      from: 0,
      until: 3,
      score: 'final',
      images: false,
    });
    expect(trainer.steps.map(({ index, batches }) => [index, batches.length])).toEqual([0, 1, 2, 3].map((i) => [i, 6]));
    // The updates of an iteration share no trajectory.
    const rows = trainer.steps.slice(0, 2).map(({ batches }) => new Set(batches.flatMap(({ samples }) => samples)));
    expect(rows).toEqual([new Set([0, 1, 2, 3]), new Set([4, 5, 6, 7])]);
  });

  test('Step-GRPO: K candidates of each state, one update', async () => {
    const { trainer, step } = setUp({ changes: { ...STEP, continue: 'best' } });
    await step(0);
    expect(trainer.rollouts[0]).toMatchObject({ k: 3, continue: 'best', from: 0, until: 3 });
    expect(trainer.steps).toHaveLength(1);
    expect(trainer.learned.size).toBe(4 * 3);
    expect([...trainer.learned.values()].every((own) => own.length === 3)).toBe(true);
  });

  test('prompts: each text once a call, and anew for a reward model that reads longer', async () => {
    const rewards = RewardParts.of({ latent: [{ weight: 1, model: reads(20) }] });
    const { trainer, step } = setUp({ rewards });
    await step(0);
    const [request] = trainer.rollouts;
    expect(request?.prompts).toHaveLength(1);
    expect(request?.promptOf).toEqual([0, 0, 0]);
    expect(request?.prompts[0]?.t5).toHaveLength(8);
    expect(request?.rewardPrompts?.[0]?.t5).toHaveLength(20);
    expect(request?.negative.clipL).toEqual(BigInt64Array.of(0n));
    const same = setUp();
    await same.step(0);
    expect(same.trainer.rollouts[0]).not.toHaveProperty('rewardPrompts');
  });

  test('scorers see images, and count beside reward models by their weights', async () => {
    const rewards = RewardParts.of({
      latent: [{ weight: 2, model: reads(8) }],
      images: [{ weight: -1, reward: scorer((value) => value) }],
    });
    const { trainer, step } = setUp({ rewards, score: () => 3 });
    const values = await step(0);
    expect(trainer.rollouts[0]?.images).toBe(true);
    expect(values.reward).toBeCloseTo(2 * 3 - 3.5, 5); // images have the value of their sample, 0 to 7
    // Of a group the darkest image is best.
    expect(trainer.learned.get('0 0')?.[0]).toBeGreaterThan(1);
    expect(trainer.learned.get('3 0')?.[0]).toBeLessThan(-1);
  });

  test('gains: each step is told what it brought', async () => {
    const { trainer, step } = setUp({
      changes: { ...FLOW, credit: 'gain' },
      score: (sample, s) => (s === 2 ? sample : 0),
    });
    await step(0);
    expect(trainer.rollouts[0]?.score).toBe('states');
    // Sample 3 is the best of its four in the second step's outcome; the third step loses it all again.
    expect(trainer.learned.get('3 0')).toEqual([0]);
    expect(trainer.learned.get('3 1')?.[0]).toBeGreaterThan(1);
    expect(trainer.learned.get('3 2')?.[0]).toBeLessThan(-1);
  });
});

describe('figures', () => {
  test('of rewards, ratios and updates; what one looks at first comes first', async () => {
    const { step } = setUp({ changes: STEP });
    const values = await step(0);
    expect(values).toMatchObject({ loss: 0.5, updates: 1, reward_not_finite: 0, zero_variance: 0 });
    expect(values.ratio_deviation).toBeCloseTo(2e-4, 12);
    expect(values['ratio_deviation/1']).toBeCloseTo(1e-4, 12);
    expect(Object.keys(values).slice(0, 3)).toEqual(['loss', 'reward', 'group_deviation']);
    const names = Object.keys(values);
    expect(names.findIndex((name) => name.includes('/'))).toBeGreaterThan(names.indexOf('update_seconds'));
    expect(names.filter((name) => name.startsWith('reward/'))).toEqual(['reward/0', 'reward/1', 'reward/2']);
    expect((await step(1)).updates).toBe(2);
  });
});

test.each([
  ['Flow-GRPO', FLOW],
  ['Step-GRPO', STEP],
  ['gains, all together', { ...FLOW, credit: 'gain', statistics: 'batch' } as const],
])('%s: two and four processes learn the same as one, from the same samples', async (_, changes) => {
  const one = setUp({ changes });
  const figures = await one.step(3);
  for (const size of [2, 4]) {
    const all = teamOf(size).map((team) => setUp({ changes, team }));
    const told = await Promise.all(all.map(({ step }) => step(3)));
    const learned = new Map(all.flatMap(({ trainer }) => [...trainer.learned]));
    expect(learned.size).toBe(all.reduce((sum, { trainer }) => sum + trainer.learned.size, 0));
    expect(sorted(learned)).toEqual(sorted(one.trainer.learned));
    for (const { reward, group_deviation } of told)
      expect([reward, group_deviation]).toEqual([figures.reward, figures.group_deviation]);
    for (const { trainer } of all) expect(trainer.steps).toHaveLength(one.trainer.steps.length);
  }
});

test('passes of any size learn the same', async () => {
  const whole = setUp({ changes: { ...STEP, batch: 4 } });
  const passes = setUp({ changes: { ...STEP, batch: 4, micro_batch: 1 } });
  await whole.step(0);
  await passes.step(0);
  expect(sorted(passes.trainer.learned)).toEqual(sorted(whole.trainer.learned));
  expect(passes.trainer.steps[0]?.batches.length).toBe(4 * (whole.trainer.steps[0]?.batches.length ?? 0));
});

describe('rewards that are no numbers', () => {
  test('one: it is left out and counted', async () => {
    const { step, trainer } = setUp({ score: (sample) => (sample === 1 ? Number.NaN : sample) });
    const values = await step(0);
    expect(values).toMatchObject({ reward_not_finite: 1, updates: 2 });
    expect(values.reward).toBeCloseTo((28 - 1) / 7, 5);
    expect(trainer.learned.get('1 0')).toEqual([0]);
  });
  test('all: the iteration is refused, and nothing is updated', async () => {
    const { step, trainer } = setUp({ score: () => Number.NaN });
    await expect(step(0)).rejects.toMatchObject({ code: 'NOT_FINITE', details: { name: 'reward', found: 'NaN' } });
    expect(trainer.steps).toEqual([]);
  });
  test('latents that are none on one process refuse it on all', async () => {
    const all = teamOf(2).map((team, rank) =>
      setUp({ team, ...(rank === 1 && { fails: new DrmError('NOT_FINITE', 'latents at step 2', { step: '2' }) }) }),
    );
    const told = await Promise.allSettled(all.map(({ step }) => step(0)));
    for (const one of told)
      expect(one).toMatchObject({
        reason: { code: 'NOT_FINITE', message: expect.stringContaining('latents at step 2') },
      });
    expect(all.flatMap(({ trainer }) => trainer.steps)).toEqual([]);
  });
});

describe('nothing to learn', () => {
  const equal = () => 1;
  test('without KL no update is made', async () => {
    const { step, trainer } = setUp({ changes: { ...FLOW, kl_beta: 0 }, score: equal });
    expect(await step(0)).toMatchObject({ zero_variance: 1, updates: 0 });
    expect(trainer.steps).toEqual([]);
  });
  test('with KL there is one, unless such groups are dropped', async () => {
    const kept = setUp({ score: equal });
    await kept.step(0);
    expect(kept.trainer.steps).toHaveLength(2);
    const dropped = setUp({ changes: { ...FLOW, drop_zero_variance: true }, score: equal });
    await dropped.step(0);
    expect(dropped.trainer.steps).toEqual([]);
  });
  test('dropped groups are left out, the others stay as they are', async () => {
    const some = (sample: number) => (sample < 4 ? 1 : sample);
    const dropped = setUp({ changes: { ...FLOW, drop_zero_variance: true }, score: some });
    const kept = setUp({ score: some });
    expect(await dropped.step(0)).toMatchObject({ zero_variance: 0.5, updates: 1 });
    await kept.step(0);
    expect(sorted(dropped.trainer.learned)).toEqual(sorted(kept.trainer.learned).filter(([, own]) => own[0] !== 0));
  });
});

describe('the ratio before the first update', () => {
  test('off in fp32: stops before anything is learned, and says why', async () => {
    const { step, trainer } = setUp({ ratioError: 2e-5 });
    await expect(step(0)).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringMatching(/expected 1 to within 0\.00001.*2\.0e-5.*not of the same policy/),
    });
    expect(trainer.steps).toEqual([]);
  });
  test('with passes of another size it says that this may be why', async () => {
    const { step } = setUp({ ratioError: 2e-5, changes: { ...FLOW, micro_batch: 1 } });
    await expect(step(0)).rejects.toThrow('--set micro_batch=0');
  });
  test('NaN is off, too', async () => {
    await expect(setUp({ ratioError: Number.NaN }).step(0)).rejects.toMatchObject({ code: 'INTERNAL' });
  });
  test('in bf16 it is told, once a sitting; more than the clip range is a warning', async () => {
    const { step, said } = setUp({ ratioError: 2e-5, dtype: 'bf16' });
    await step(0);
    await step(1);
    expect(said('info')).toEqual(['ratio before the first update: off 1 by 2.0e-5 at most (bf16)']);
    const worse = setUp({ ratioError: 2e-4, dtype: 'bf16' });
    await worse.step(0);
    expect(worse.said('warning').join()).toContain('more than the clip range 0.0001');
  });
});

describe('evaluations', () => {
  const signal = new AbortController().signal;
  test('are of the averaged adapter, always the same prompts and seeds; figures and sheet share their images', async () => {
    const { task, trainer } = setUp({ held: true, changes: { ...FLOW, evaluate_steps: 7, guidance: 3 } });
    const folder = temporaryFolder();
    const values = await task.evaluate?.(0, signal);
    expect(await task.preview?.(0, folder, signal)).toEqual([join(folder, 'sheet.png')]);
    expect(trainer.samples).toHaveLength(1);
    expect(trainer.samples[0]).toMatchObject({ seeds: [0, 1], steps: 7, guidance: 3 });
    expect(values).toMatchObject({ reward: 0.5, saturation: 0, brightness: expect.closeTo(200 / 255, 6) });
    await task.evaluate?.(10, signal);
    expect(trainer.samples[1]).toEqual(trainer.samples[0]);
  });

  test('that are warned of end the run when asked to, also after a restart', async () => {
    const brightness = (look: number) => (look === 0 ? 200 : 20);
    const { task, said } = setUp({ held: true, brightness, changes: { ...FLOW, stop_when: ['images-change'] } });
    await task.evaluate?.(0, signal);
    expect(task.ended()).toBeUndefined();
    await task.evaluate?.(10, signal);
    expect(said('warning').join()).toContain('dark');
    expect(task.ended()).toMatch(/^images-change: the images have become dark/);

    const folder = join(temporaryFolder(), 'state');
    mkdirSync(folder);
    await task.save(folder);
    const again = setUp({ held: true, changes: { ...FLOW, stop_when: ['pictures-change'] } }); // its former name
    await again.task.restore(folder);
    expect(again.task.ended()).toBe(task.ended());
    const goesOn = setUp({ held: true });
    await goesOn.task.restore(folder);
    expect(goesOn.task.ended()).toBeUndefined();
  });

  test('the number of updates is kept over a restart', async () => {
    const { task, step } = setUp();
    await step(0);
    const folder = join(temporaryFolder(), 'state');
    mkdirSync(folder);
    await task.save(folder);
    const again = setUp();
    await again.task.restore(folder);
    expect((await again.step(1)).updates).toBe(4);
  });
});
