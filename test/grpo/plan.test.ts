// What an iteration consists of: of settings, seed and iteration alone, however many processes there are.
import { describe, expect, test } from 'vitest';
import type { DrmError } from '../../binding/error.js';
import { resolveConfig } from '../../cli/config/resolve.js';
import type { GrpoSettings } from '../../cli/config/types.js';
import { type Geometry, geometryOf, workloadOf } from '../../cli/grpo/geometry.js';
import { planner, sharesOf } from '../../cli/grpo/plan.js';
import { grpoSettings } from './settings.js';

const FLOW = { algorithm: 'flow', prompts_per_iteration: 4, group: 6, batch: 5 } as const;
const STEP = { algorithm: 'step', prompts_per_iteration: 8, k: 4, batch: 3 } as const;

const geometry = (changes: Partial<GrpoSettings>, processes = 1) => geometryOf(grpoSettings(changes), processes);

function plan(changes: Partial<GrpoSettings>, iteration: number, prompts = 50, processes = 1) {
  const s = grpoSettings(changes);
  return planner(s, geometryOf(s, processes), prompts)(iteration);
}

describe('geometry', () => {
  test('of Flow-GRPO: groups of trajectories, two updates', () => {
    expect(geometry(FLOW, 2)).toMatchObject({
      ...{ trajectories: 24, k: 1, group: 6, groups: 4, updates: 2, processes: 2, rows: 6, batch: 5, pass: 5 },
      ...{ window: { from: 0, until: 9 }, trained: 9 },
    });
  });
  test('of Step-GRPO: groups of candidates, one update', () => {
    expect(geometry({ ...STEP, micro_batch: 2 })).toMatchObject({
      ...{ trajectories: 8, k: 4, group: 4, groups: 8, updates: 1, rows: 8, batch: 3, pass: 2 },
    });
  });
  test('rewards of a whole iteration together', () => {
    expect(geometry({ ...FLOW, statistics: 'batch' })).toMatchObject({ group: 24, groups: 1 });
    expect(geometry({ ...STEP, statistics: 'batch' })).toMatchObject({ group: 32, groups: 1 });
  });
  test('a window is rounded to steps and never has the last one', () => {
    expect(geometry({ window_until: 0.5 }).window).toEqual({ from: 0, until: 5 });
    expect(geometry({ window_from: 0.5 }).window).toEqual({ from: 5, until: 9 });
    expect(geometry({ denoising_steps: 2 }).window).toEqual({ from: 0, until: 1 });
  });
});

describe('the configs that come with drm', () => {
  const settings = (name: string) => resolveConfig('grpo', { file: `grpo/${name}` }).values;

  test.each(['sd35-medium', 'sd35-medium-one-gpu', 'sd35-medium-paper', 'tiny'])(
    '%s: both algorithms make as many updates, of as many samples',
    (name) => {
      const [flow, step] = [settings(`${name}-flow`), settings(`${name}-step`)];
      expect([flow.algorithm, step.algorithm]).toEqual(['flow', 'step']);
      expect(workloadOf(step)).toEqual(workloadOf(flow));
      expect(workloadOf(flow).updates).toBe(2); // the ratio of a first update is 1: clipping acts in the second
      for (const s of [flow, step]) expect(geometryOf(s, 4)).toMatchObject(workloadOf(s));
      expect(flow.iterations).toBe(step.iterations);
    },
  );

  test("the paper's: 24 samples an update, six on each of four GPUs; fewer candidates of as many prompts", () => {
    const [flow, step, k2, k4] = ['flow', 'step', 'step-k2', 'step-k4'].map((name) =>
      geometryOf(settings(`sd35-medium-paper-${name}`), 4),
    );
    expect(flow).toMatchObject({ prompts: 2, group: 24, samples: 24, rows: 6, batch: 6 });
    // An update has the whole group of one prompt.
    expect(new Set(sharesOf(flow as Geometry, 0)[0]?.flat())).toEqual(new Set([0, 1, 2, 3, 4, 5]));
    expect(step).toMatchObject({ prompts: 8, group: 6, samples: 24, rows: 1, k: 6 });
    expect(k2).toMatchObject({ prompts: 8, group: 2, samples: 8, rows: 1, k: 2 });
    expect(k4).toMatchObject({ prompts: 8, group: 4, samples: 16, rows: 1, k: 4 });
  });

  test("flow_grpo's own, on four GPUs", () => {
    const s = settings('sd35-medium-flow-grpo');
    expect(geometryOf(s, 4)).toMatchObject({
      prompts: 16,
      group: 16,
      trajectories: 256,
      updates: 2,
      rows: 32,
      batch: 8,
    });
    expect(s).toMatchObject({ learning_rate: 3e-4, dtype: 'fp16', global_deviation: true, drop_zero_variance: true });
    expect(s).toMatchObject({ evaluate_samples: 2048, evaluate_steps: 40 });
  });
});

describe('what cannot be', () => {
  const refused = (changes: Partial<GrpoSettings>, words: (string | RegExp)[], processes = 1) => {
    let error: DrmError | undefined;
    try {
      geometry(changes, processes);
    } catch (thrown) {
      error = thrown as DrmError;
    }
    expect(error?.code).toBe('BAD_CONFIG');
    for (const word of words) expect(error?.message).toMatch(word);
  };
  test('one candidate a state', () => refused({ ...STEP, k: 1 }, [/^\[grpo\] k/, 'at least 2', '--k 6', '--step']));
  test('one trajectory a prompt', () => refused({ ...FLOW, group: 1 }, [/^\[grpo\] group/, 'statistics=batch']));
  test('but with all of an iteration there is something to compare', () => {
    expect(geometry({ ...FLOW, group: 1, statistics: 'batch' }).group).toBe(4);
  });
  test('a group that does not divide', () =>
    refused(
      { ...FLOW, group: 5 },
      [/^\[grpo\] group/, '2 updates of 4 processes', '4 prompts × 5 = 20, which 8', '--group 4 or --group 6'],
      4,
    ));
  test('trajectories that do not', () =>
    refused({ ...STEP, prompts_per_iteration: 3 }, ['trajectories=2', '3 prompts × 1 = 3'], 2));
  test('what is proposed instead can be', () => {
    expect(() => geometry({ ...FLOW, group: 4 }, 4)).not.toThrow();
    expect(() => geometry({ ...FLOW, group: 6 }, 4)).not.toThrow();
    expect(() => geometry({ ...STEP, prompts_per_iteration: 3, trajectories: 2 }, 2)).not.toThrow();
  });
  test('no step to train', () => {
    refused({ window_from: 0.95 }, ['window_from', 'last one is never trained']);
    refused({ window_from: 0.5, window_until: 0.4 }, ['window_from']);
  });
  test('a window longer than there are steps', () => refused({ window_size: 10 }, ['window_size', 'at most 9']));
  test('fewer prompts than an iteration takes', () => {
    expect(() => plan(FLOW, 0, 3)).toThrow(/at most 3, all there are.*found 4/);
  });
});

describe('a plan', () => {
  test('is the same however many processes there are, and for the same iteration again', () => {
    for (const changes of [FLOW, STEP]) {
      expect(plan(changes, 7, 50, 2)).toEqual(plan(changes, 7, 50, 1));
      expect(plan({ ...changes, seed: 1 }, 7)).not.toEqual(plan(changes, 7));
    }
  });

  test('has different prompts, each with its trajectories together', () => {
    const { trajectories } = plan(FLOW, 3);
    expect(trajectories.map(({ group }) => group)).toEqual([0, 1, 2, 3].flatMap((g) => Array(6).fill(g)));
    for (const g of [0, 1, 2, 3])
      expect(new Set(trajectories.filter(({ group }) => group === g).map(({ prompt }) => prompt)).size).toBe(1);
    expect(new Set(trajectories.map(({ prompt }) => prompt)).size).toBe(4);
  });

  test('no prompt comes again before all others did; what does not fill an iteration waits', () => {
    for (const [prompts, perEpoch] of [
      [48, 12],
      [50, 12],
    ] as const) {
      for (const epoch of [0, 1, 5]) {
        const seen = Array.from({ length: perEpoch }, (_, i) => plan(FLOW, epoch * perEpoch + i, prompts))
          .flatMap(({ trajectories }) => trajectories.filter((_, i) => i % 6 === 0))
          .map(({ prompt }) => prompt);
        expect(new Set(seen).size).toBe(48);
      }
    }
  });

  test('numbers its samples so that no two of a run are the same, and shares latents only when asked', () => {
    const samples = [0, 1, 2].flatMap((i) => plan(FLOW, i).trajectories);
    expect(new Set(samples.map(({ sample }) => sample)).size).toBe(72);
    expect(samples.every(({ sample, latents }) => sample === latents)).toBe(true);
    const shared = plan({ ...FLOW, same_latent: true }, 1).trajectories;
    expect(new Set(shared.map(({ latents }) => latents)).size).toBe(4);
    expect(new Set(shared.map(({ sample }) => sample)).size).toBe(24);
  });

  test('draws its window anew for each iteration, within the steps that may be', () => {
    const changes = { ...FLOW, window_size: 3, window_until: 0.5 };
    const windows = Array.from({ length: 40 }, (_, i) => plan(changes, i).window);
    expect(windows.every(({ from, until }) => until - from === 3 && until <= 5)).toBe(true);
    expect(new Set(windows.map(({ from }) => from))).toEqual(new Set([0, 1, 2]));
  });
});

describe('shares', () => {
  test('of all processes are all trajectories, each once, in calls of at most a batch', () => {
    for (const processes of [1, 2, 4, 12]) {
      const g = geometry(FLOW, processes);
      const shares = Array.from({ length: processes }, (_, rank) => sharesOf(g, rank));
      expect(shares.flat(3).sort((a, b) => a - b)).toEqual(Array.from({ length: 24 }, (_, i) => i));
      expect(shares.flat(2).every((call) => call.length <= g.batch)).toBe(true);
    }
  });
  test('of an update are the same trajectories whoever samples them', () => {
    const update = (processes: number, which: number) =>
      Array.from({ length: processes }, (_, rank) => sharesOf(geometry(FLOW, processes), rank)[which])
        .flat(2)
        .sort((a, b) => (a as number) - (b as number));
    for (const which of [0, 1]) expect(update(4, which)).toEqual(update(1, which));
  });
  test('leave groups whole where the numbers allow it: the paper’s 6 on each of 4', () => {
    const g = geometry({ ...FLOW, prompts_per_iteration: 8 }, 4);
    for (let rank = 0; rank < 4; rank++)
      for (const share of sharesOf(g, rank)) expect(new Set(share.flat().map((at) => Math.floor(at / 6))).size).toBe(1);
  });
});
