// Estimates: passes are counted exactly; seconds and bytes follow the shapes in the right proportions.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { describeModel } from '../../binding/index.js';
import type { ModelDescription, PipelineSource } from '../../binding/types.js';
import type { GrpoSettings } from '../../cli/config/types.js';
import { adapterNumbers, type Estimated, estimate, networkOf, overall } from '../../cli/grpo/estimate.js';
import { geometryOf } from '../../cli/grpo/geometry.js';
import { geometryText } from '../../cli/grpo/plan_report.js';
import { grpoSettings } from './settings.js';

/** What models of SD3.5 Medium's shapes say of themselves, by a folder with their configs alone. */
function described(keepLayers?: number, size = 512): ModelDescription {
  const folder = mkdtempSync(join(tmpdir(), 'drm-estimate-'));
  const file = (name: string, config: object) => {
    writeFileSync(join(folder, name), JSON.stringify(config));
    return join(folder, name);
  };
  const backbone = {
    ...{ _class_name: 'SD3Transformer2DModel', num_layers: 24, num_attention_heads: 24, attention_head_dim: 64 },
    ...{ patch_size: 2, in_channels: 16, pos_embed_max_size: 384, sample_size: 128, qk_norm: 'rms_norm' },
    ...{ joint_attention_dim: 4096, pooled_projection_dim: 2048, caption_projection_dim: 1536 },
    dual_attention_layers: [...Array(13).keys()],
  };
  const head = { channels: 256, groups: 32, hidden: 512 };
  const vae = { _class_name: 'AutoencoderKL', block_out_channels: [128, 256, 512, 512], latent_channels: 16 };
  const reward = { _class_name: 'DiffusionRewardModel', backbone, keep_layers: keepLayers, head };
  const none = { weights: [] as string[] };
  const source = {
    transformer: { config: file('transformer.json', backbone), ...none },
    vae: { config: file('vae.json', vae), ...none },
  } as PipelineSource;
  try {
    return describeModel({
      ...{ source, size, textTokens: 205 },
      ...(keepLayers !== undefined && { checkpoint: { config: file('reward.json', reward), ...none } }),
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const MEDIUM_MODEL = described();
const MEDIUM = networkOf(MEDIUM_MODEL);
const DRM = networkOf(described(21));

function plan(changes: Partial<GrpoSettings>, more: Partial<Estimated> = {}, processes = 1) {
  const settings = grpoSettings(changes);
  const geometry = geometryOf(settings, processes);
  return estimate({
    ...{ settings, geometry, policy: MEDIUM, rewards: [DRM], latentNumbers: 16 * 64 * 64, size: 512 },
    ...{ otherBytes: 0, adapter: adapterNumbers(settings, MEDIUM_MODEL), dtype: 'bf16' as const, heldOut: 32 },
    machine: { name: 'a machine', rate: 1e14, overhead: 0, bytes: 0 },
    ...more,
  });
}
const phase = (of: ReturnType<typeof plan>, name: string) =>
  of.phases.find((one) => one.name === name) as (typeof of.phases)[0];

describe('shapes', () => {
  test('of SD3.5 Medium are as known: 2.2 billion weights, 18.8 million of the adapter', () => {
    expect(MEDIUM.weights / 2.243e9).toBeCloseTo(1, 1);
    expect(adapterNumbers(grpoSettings(), MEDIUM_MODEL) / 18_776_064).toBeCloseTo(1, 2);
    expect(MEDIUM_MODEL.parameters).toBe(2_243_171_520);
    expect(MEDIUM_MODEL).toMatchObject({ width: 1536, layers: 24, sizeUnit: 16, defaultSize: 1024, largestSize: 6144 });
  });
  test('operations grow with tokens and layers', () => {
    expect(DRM.operations).toBeLessThan(MEDIUM.operations);
    expect(networkOf(described(undefined, 1024)).operations / MEDIUM.operations).toBeGreaterThan(3);
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
    rewards    192, of finished images, compared in groups of 24
    updates    2 optimizer steps on 96 trajectories, at 3 steps, 24 on each of 4 processes
    run        200 iterations = 400 updates, 38400 trajectories"
  `);
});
