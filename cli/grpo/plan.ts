// What an iteration consists of: which prompts, which trajectories, who samples which of them and at which update they are
// learned from. All of it is a function of settings, seed, iteration and number of processes; the trajectories themselves
// and their numbers, which key their noise, are of seed and iteration alone.
import { DrmError } from '../../binding/error.js';
import type { GrpoSettings } from '../config/types.js';
import { Draws } from '../random/draws.js';
import { epochOrder } from '../random/order.js';

/** Keeps this use of the seed apart from all others ("wind"). */
const WINDOW_PURPOSE = 0x77696e64;

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
 * runs of the two algorithms comparable by updates.
 */
export function workloadOf(
  s: Pick<
    GrpoSettings,
    'algorithm' | 'prompts_per_iteration' | 'group' | 'trajectories' | 'k' | 'updates_per_iteration'
  >,
): { updates: number; samples: number } {
  const updates = s.updates_per_iteration || (s.algorithm === 'step' ? 1 : 2);
  const each = s.algorithm === 'step' ? s.trajectories * s.k : s.group;
  return { updates, samples: (s.prompts_per_iteration * each) / updates };
}

const bad = (key: string, what: string, details: Record<string, string> = {}) =>
  new DrmError('BAD_CONFIG', `[grpo] ${key}: ${what}`, { key, ...details });

function windowOf(s: GrpoSettings): { window: Window; trained: number } {
  const last = s.denoising_steps - 1; // hardly any noise is left there: never trained
  const from = Math.round(s.window_from * s.denoising_steps);
  const until = Math.min(last, Math.round(s.window_until * s.denoising_steps));
  if (from >= until)
    throw bad(
      'window_from',
      `expected steps between ${s.window_from} and ${s.window_until} of the ${s.denoising_steps} (the last one is never trained), found none; widen them, as with --set window_from=0 --set window_until=1`,
      { found: String(s.window_from) },
    );
  const steps = until - from;
  if (s.window_size > steps)
    throw bad(
      'window_size',
      `expected at most ${steps}, the steps from ${from} to ${until - 1}, found ${s.window_size}; 0 is all of them`,
      { expected: String(steps), found: String(s.window_size) },
    );
  return { window: { from, until }, trained: s.window_size || steps };
}

/** Throws DrmError BAD_CONFIG for what leaves nothing to compare, or work that cannot be dealt out evenly. */
export function geometryOf(s: GrpoSettings, processes: number): Geometry {
  const stepwise = s.algorithm === 'step';
  if (stepwise && s.k < 2)
    throw bad(
      'k',
      `expected at least 2 candidates, since Step-GRPO compares those of one state, found ${s.k}; give --k 6, or leave --step out`,
      { expected: '2', found: String(s.k) },
    );
  if (!stepwise && s.group < 2 && s.statistics === 'prompt')
    throw bad(
      'group',
      `expected at least 2 trajectories of a prompt, whose rewards are compared, found ${s.group}; give --group 24, or compare all of an iteration with --set statistics=batch`,
      { expected: '2', found: String(s.group) },
    );
  const prompts = s.prompts_per_iteration;
  const each = stepwise ? s.trajectories : s.group;
  const trajectories = prompts * each;
  const k = stepwise ? s.k : 1;
  if (trajectories * k < 2)
    throw bad('prompts_per_iteration', 'expected at least 2 rewards to compare, found 1; give --group 24');
  const { updates, samples } = workloadOf(s);
  const shares = updates * processes;
  if (trajectories % shares !== 0) {
    const [key, flag] = stepwise ? ['trajectories', '--set trajectories='] : ['group', '--group '];
    const unit = shares / gcd(prompts, shares);
    const near = [Math.floor(each / unit) * unit, Math.ceil(each / unit) * unit].filter((n) => n >= (stepwise ? 1 : 2));
    throw bad(
      key as string,
      `expected trajectories that can be dealt out evenly to ${updates} updates${processes > 1 ? ` of ${processes} processes` : ''}, found ${prompts} prompts × ${each} = ${trajectories}, which ${shares} does not divide; choose ${near.map((n) => `${flag}${n}`).join(' or ')}, or other --prompts-per-iteration`,
      { expected: String(shares), found: String(trajectories) },
    );
  }
  const rows = trajectories / shares;
  const perState = s.statistics === 'batch' ? trajectories * k : stepwise ? k : each;
  const batch = Math.min(s.batch, rows);
  return {
    ...{ prompts, each, trajectories, k, updates, samples, processes, rows, batch },
    ...{ group: perState, groups: (trajectories * k) / perState },
    pass: Math.min(s.micro_batch || batch, batch),
    steps: s.denoising_steps,
    ...windowOf(s),
  };
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

export interface Trajectory {
  /** Of the list of prompts. */
  prompt: number;
  /** Which of the iteration's prompts; trajectories of one are a group. */
  group: number;
  /** Keys its noise. No two of a run have the same. */
  sample: number;
  /** Keys its first latents; equal numbers share them. */
  latents: number;
}

export interface IterationPlan {
  iteration: number;
  /** Of all processes. */
  trajectories: Trajectory[];
  window: Window;
}

/**
 * An iteration's plan by its number. All prompts have their turn before one comes again, but for the last few of an epoch
 * where they do not fill an iteration: which those are is drawn anew each time.
 */
export function planner(
  s: GrpoSettings,
  geometry: Geometry,
  /** Of the list, which holds each prompt once. */
  prompts: number,
): (iteration: number) => IterationPlan {
  if (geometry.prompts > prompts)
    throw bad(
      'prompts_per_iteration',
      `expected at most ${prompts}, all there are, since those of an iteration differ, found ${geometry.prompts}; give --prompts-per-iteration ${prompts} or more prompts`,
      { expected: String(prompts), found: String(geometry.prompts) },
    );
  const perEpoch = Math.floor(prompts / geometry.prompts);
  let epoch: { number: number; order: Uint32Array } = { number: -1, order: new Uint32Array(0) };
  const chosen = (iteration: number): number[] => {
    const number = Math.floor(iteration / perEpoch);
    if (epoch.number !== number) epoch = { number, order: epochOrder(s.seed, number, prompts) };
    const first = (iteration % perEpoch) * geometry.prompts;
    return [...epoch.order.subarray(first, first + geometry.prompts)];
  };
  const { from, until } = geometry.window;
  return (iteration) => {
    const start = from + new Draws(s.seed, WINDOW_PURPOSE, iteration).below(until - from - geometry.trained + 1);
    return {
      iteration,
      window: { from: start, until: start + geometry.trained },
      trajectories: chosen(iteration).flatMap((prompt, group) =>
        Array.from({ length: geometry.each }, (_, i) => {
          const first = iteration * geometry.trajectories + group * geometry.each;
          return { prompt, group, sample: first + i, latents: s.same_latent ? first : first + i };
        }),
      ),
    };
  };
}

/**
 * The trajectories of a process, as positions in the plan: for each update its share, in network calls. A prompt's
 * trajectories lie together, so that where the numbers allow it a group is whole on one process and in one update.
 */
export function sharesOf({ trajectories, updates, rows, batch }: Geometry, rank: number): number[][][] {
  const perUpdate = trajectories / updates;
  return Array.from({ length: updates }, (_, update) => {
    const first = update * perUpdate + rank * rows;
    return chunks(
      Array.from({ length: rows }, (_, i) => first + i),
      batch,
    );
  });
}

/** Runs of at most `length`. */
export function chunks<T>(all: readonly T[], length: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / length) }, (_, i) => all.slice(i * length, (i + 1) * length));
}
