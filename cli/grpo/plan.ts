// Which prompts an iteration has, which trajectories, who samples which of them and at which update they are learned from.
// All of it is a function of settings, seed, iteration and number of processes; the trajectories themselves and their
// numbers, which key their noise, are of seed and iteration alone.

import { badSetting } from '../config/bad_setting.js';
import type { GrpoSettings } from '../config/types.js';
import { epochOrder } from '../random/order.js';
import { PhiloxStream } from '../random/philox_stream.js';
import type { Geometry, Window } from './geometry.js';

/** Keeps this use of the seed apart from all others ("wind"). */
const WINDOW_PURPOSE = 0x77696e64;

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
    throw badSetting(
      'grpo',
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
    const start = from + new PhiloxStream(s.seed, WINDOW_PURPOSE, iteration).below(until - from - geometry.trained + 1);
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
