// How large an iteration is: trajectories, groups, updates, and each process's share. Of settings and the number of
// processes alone.

import { badSetting } from '../config/bad_setting.js';
import type { GrpoSettings } from '../config/types.js';
import { algorithmOf } from './algorithms/registry.js';

/** Denoising steps with noise, which are trained: from <= step < until. */
export interface Window {
  from: number;
  until: number;
}

export interface Geometry {
  /** Prompts an iteration, and trajectories of each. */
  prompts: number;
  each: number;
  /** Of an iteration, over all processes. */
  trajectories: number;
  /** Candidates of a state; 1 where only trajectories are compared. */
  k: number;
  /** Rewards compared with each other. */
  group: number;
  /** Groups an iteration. */
  groups: number;
  updates: number;
  /** That an update learns from at each step: trajectories, or their candidates; over all processes. */
  samples: number;
  processes: number;
  /** Trajectories of a process's share of an update. */
  rows: number;
  /** Trajectories a network call, at most. */
  batch: number;
  /** Trajectories a pass of an update, at most. */
  pass: number;
  steps: number;
  /** Where noise may be. */
  window: Window;
  /** Steps that are trained, all of the window or so many of it in a row. */
  trained: number;
}

/**
 * Updates an iteration, and samples that each learns from at a denoising step: trajectories, or their candidates. What makes
 * runs of two algorithms comparable by updates.
 */
export function workloadOf(
  s: Pick<
    GrpoSettings,
    'algorithm' | 'prompts_per_iteration' | 'group' | 'trajectories' | 'k' | 'updates_per_iteration'
  >,
): { updates: number; samples: number } {
  const algorithm = algorithmOf(s);
  const updates = s.updates_per_iteration || algorithm.updates;
  const each = s[algorithm.trajectories.setting] * algorithm.candidates(s);
  return { updates, samples: (s.prompts_per_iteration * each) / updates };
}

function windowOf(s: GrpoSettings): { window: Window; trained: number } {
  const last = s.denoising_steps - 1; // hardly any noise is left there: never trained
  const from = Math.round(s.window_from * s.denoising_steps);
  const until = Math.min(last, Math.round(s.window_until * s.denoising_steps));
  if (from >= until)
    throw badSetting(
      'grpo',
      'window_from',
      `expected steps between ${s.window_from} and ${s.window_until} of the ${s.denoising_steps} (the last one is never trained), found none; widen them, as with --set window_from=0 --set window_until=1`,
      { found: String(s.window_from) },
    );
  const steps = until - from;
  if (s.window_size > steps)
    throw badSetting(
      'grpo',
      'window_size',
      `expected at most ${steps}, the steps from ${from} to ${until - 1}, found ${s.window_size}; 0 is all of them`,
      { expected: String(steps), found: String(s.window_size) },
    );
  return { window: { from, until }, trained: s.window_size || steps };
}

/** Throws DrmError BAD_CONFIG for what leaves nothing to compare, or work that cannot be dealt out evenly. */
export function geometryOf(s: GrpoSettings, processes: number): Geometry {
  const algorithm = algorithmOf(s);
  algorithm.checkGroups(s);
  const prompts = s.prompts_per_iteration;
  const { setting, typed, least } = algorithm.trajectories;
  const each = s[setting];
  const trajectories = prompts * each;
  const k = algorithm.candidates(s);
  const { updates, samples } = workloadOf(s);
  const shares = updates * processes;
  if (trajectories % shares !== 0) {
    const unit = shares / gcd(prompts, shares);
    const near = [Math.floor(each / unit) * unit, Math.ceil(each / unit) * unit].filter((n) => n >= least);
    throw badSetting(
      'grpo',
      setting,
      `expected trajectories that can be dealt out evenly to ${updates} updates${processes > 1 ? ` of ${processes} processes` : ''}, found ${prompts} prompts × ${each} = ${trajectories}, which ${shares} does not divide; choose ${near.map((n) => `${typed}${n}`).join(' or ')}, or other --prompts-per-iteration`,
      { expected: String(shares), found: String(trajectories) },
    );
  }
  const rows = trajectories / shares;
  const group = s.statistics === 'batch' ? trajectories * k : algorithm.groupSize(s);
  const batch = Math.min(s.batch, rows);
  return {
    ...{ prompts, each, trajectories, k, updates, samples, processes, rows, batch },
    ...{ group, groups: (trajectories * k) / group },
    pass: Math.min(s.micro_batch || batch, batch),
    steps: s.denoising_steps,
    ...windowOf(s),
  };
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
