// Estimates: passes are counted exactly; seconds and bytes follow the shapes in the right proportions.
import { describe, expect, test } from 'vitest';
import type { GrpoSettings } from '../../cli/config/types.js';
import {
  adapterNumbers,
  type Estimated,
  estimate,
  type Network,
  networkOf,
  operations,
  overall,
  weights,
} from '../../cli/grpo/estimate.js';
import { geometryOf } from '../../cli/grpo/geometry.js';
import { geometryText } from '../../cli/grpo/plan_report.js';
import { grpoSettings } from './settings.js';

const MEDIUM = networkOf(
  {
    num_layers: 24,
    num_attention_heads: 24,
    attention_head_dim: 64,
    patch_size: 2,
    dual_attention_layers: [...Array(13).keys()],
  },
  { side: 64, textTokens: 205 },
);
const DRM = { ...MEDIUM, layers: 21 };

function plan(changes: Partial<GrpoSettings>, more: Partial<Estimated> = {}, processes = 1) {
  const settings = grpoSettings(changes);
  const geometry = geometryOf(settings, processes);
  return estimate({
    ...{ settings, geometry, policy: MEDIUM, rewards: [DRM], latentNumbers: 16 * 64 * 64, size: 512 },
    ...{ otherBytes: 0, adapter: adapterNumbers(settings, MEDIUM), dtype: 'bf16' as const, heldOut: 32 },
    machine: { name: 'a machine', rate: 1e14, overhead: 0, bytes: 0 },
    ...more,
  });
}
const phase = (of: ReturnType<typeof plan>, name: string) =>
  of.phases.find((one) => one.name === name) as (typeof of.phases)[0];

describe('shapes', () => {
  test('of SD3.5 Medium are as known: 2.2 billion weights, 18.8 million of the adapter', () => {
    expect(weights(MEDIUM) / 2.243e9).toBeCloseTo(1, 1);
    expect(adapterNumbers(grpoSettings(), MEDIUM) / 18_776_064).toBeCloseTo(1, 1);
    expect(MEDIUM).toMatchObject({ pictureTokens: 1024, dual: 13, width: 1536 });
  });
  test('operations grow with tokens and layers', () => {
    expect(operations(DRM)).toBeLessThan(operations(MEDIUM));
    const wide: Network = { ...MEDIUM, pictureTokens: 4096 };
    expect(operations(wide) / operations(MEDIUM)).toBeGreaterThan(3);
  });
});

describe('passes and rows of a process', () => {
  const STEP = { algorithm: 'step', prompts_per_iteration: 8, k: 6, batch: 4, guidance: 4.5 } as const;
  test('Step-GRPO: a guided row a state, K rewards a state, updates of every trained step', () => {
    const p = plan({ ...STEP, micro_batch: 2 });
    expect(phase(p, 'rollout')).toMatchObject({ passes: 20, rows: 8 * 10 * 2 });
    expect(phase(p, 'reward')).toMatchObject({ passes: 18, rows: 8 * 9 * 6 });
    expect(phase(p, 'update')).toMatchObject({ passes: 36, rows: 8 * 9 * 2 });
    expect(phase(p, 'evaluation')).toMatchObject({ passes: 8 * 40, rows: 32 * 40 * 2 });
  });
  test('Flow-GRPO: one reward a trajectory, or one a state', () => {
    const flow = { algorithm: 'flow', prompts_per_iteration: 2, group: 8, batch: 4 } as const;
    expect(phase(plan(flow), 'reward')).toMatchObject({ passes: 4, rows: 16 });
    expect(phase(plan({ ...flow, credit: 'gain' }), 'reward')).toMatchObject({ rows: 160 });
  });
  test('without guidance half the rows; shared by processes', () => {
    expect(phase(plan({ ...STEP, guidance: 1 }), 'rollout').rows).toBe(80);
    expect(phase(plan(STEP, {}, 4), 'rollout').rows).toBe(40);
  });
});

describe('seconds and bytes', () => {
  const STEP = { algorithm: 'step', prompts_per_iteration: 8, k: 6, batch: 4 } as const;
  test('KL and recomputation cost a pass each; recomputation saves memory', () => {
    const bare = phase(plan({ ...STEP, kl_beta: 0 }), 'update');
    const kl = phase(plan(STEP), 'update');
    const recomputed = phase(plan({ ...STEP, gradient_checkpointing: true }), 'update');
    expect(kl.seconds / bare.seconds).toBeCloseTo(3 / 2, 10);
    expect(recomputed.seconds / bare.seconds).toBeCloseTo(4 / 2, 10);
    expect(recomputed.bytes).toBeLessThan(kl.bytes);
  });
  test('a smaller pass needs less memory in the update alone', () => {
    const [whole, passes] = [plan(STEP), plan({ ...STEP, micro_batch: 1 })];
    expect(phase(passes, 'update').bytes).toBeLessThan(phase(whole, 'update').bytes);
    expect(phase(passes, 'rollout').bytes).toBe(phase(whole, 'rollout').bytes);
    expect(whole.bytes).toBe(Math.max(...whole.phases.map(({ bytes }) => bytes)));
  });
  test('of a run: its iterations, and evaluations at first, in between and at the end', () => {
    const phases = [
      { name: 'rollout' as const, seconds: 2 },
      { name: 'evaluation' as const, seconds: 10 },
    ];
    expect(overall(phases, { iterations: 100, evaluate_every: 30 })).toEqual({ secondsPerIteration: 2, seconds: 250 });
    expect(overall(phases, { iterations: 100, evaluate_every: 0 }).seconds).toBe(200);
  });
});

test('what an iteration is made of, in words', () => {
  const text = (changes: Partial<GrpoSettings>, processes = 1) => {
    const s = grpoSettings(changes);
    return geometryText(s, geometryOf(s, processes));
  };
  expect(text({ algorithm: 'step', prompts_per_iteration: 1, trajectories: 2, iterations: 1 })).toMatchInlineSnapshot(`
    "iteration  1 prompt × 2 trajectories = 2, of 10 steps, steps 0 to 8 trained
    rewards    18 states × 6 candidates = 108, compared in groups of 6
    updates    1 optimizer step on 2 trajectories × 6 candidates = 12 samples, at 9 steps
    run        1 iteration = 1 update, 2 trajectories"
  `);
  expect(text({ group: 24, prompts_per_iteration: 8, window_size: 3, window_until: 0.5 }, 4)).toMatchInlineSnapshot(`
    "iteration  8 prompts × 24 trajectories = 192, of 10 steps, 3 in a row of steps 0 to 4 trained
    rewards    192, of finished pictures, compared in groups of 24
    updates    2 optimizer steps on 96 trajectories, at 3 steps, 24 on each of 4 processes
    run        200 iterations = 400 updates, 38400 trajectories"
  `);
});
