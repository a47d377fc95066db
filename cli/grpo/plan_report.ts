// What `drm grpo --plan` and `--dry-run` print: what an iteration consists of, and what it costs.
import type { GrpoSettings } from '../config/types.js';
import { bytes, duration } from '../ui/figures.js';
import { table, wrapped } from '../ui/table.js';
import { algorithmOf } from './algorithms/registry.js';
import type { Phase } from './estimate.js';
import type { Geometry } from './geometry.js';

export interface Costs {
  phases: Phase[];
  secondsPerIteration: number;
  /** Of the whole run. */
  seconds: number;
}

const many = (n: number, one: string, more = `${one}s`) => `${n} ${n === 1 ? one : more}`;
const trajectories = (n: number) => many(n, 'trajectory', 'trajectories');

/** What an iteration is made of, in words. */
export function geometryText(s: GrpoSettings, g: Geometry): string {
  const { from, until } = g.window;
  const window = from === until - 1 ? `step ${from}` : `steps ${from} to ${until - 1}`;
  const trained = g.trained === until - from ? window : `${g.trained} in a row of ${window}`;
  const rewards = algorithmOf(s).rewardsText(s, g);
  const own = trajectories(g.trajectories / g.updates);
  const update = g.k > 1 ? `${own} × ${g.k} candidates = ${g.samples} samples` : own;
  const each = g.processes > 1 ? `, ${g.rows} on each of ${g.processes} processes` : '';
  return [
    `iteration  ${many(g.prompts, 'prompt')} × ${trajectories(g.each)} = ${g.trajectories}, of ${g.steps} steps, ${trained} trained`,
    `rewards    ${rewards}, compared in groups of ${g.group}`,
    `updates    ${many(g.updates, 'optimizer step')} on ${update}, at ${many(g.trained, 'step')}${each}`,
    `run        ${many(s.iterations, 'iteration')} = ${many(s.iterations * g.updates, 'update')}, ${trajectories(s.iterations * g.trajectories)}`,
  ].join('\n');
}

/** A line a phase, and what they come to. `memory` names that column. */
export function costText({ phases, secondsPerIteration, seconds }: Costs, g: Geometry, memory: string): string {
  const rows = phases.map((phase) => [
    phase.name,
    String(phase.passes),
    String(phase.rows),
    duration(phase.seconds),
    bytes(phase.bytes),
  ]);
  return [
    table([g.processes > 1 ? 'of a process' : '', 'passes', 'rows', 'time', memory], rows),
    `an iteration takes ${duration(secondsPerIteration)}, the run ${duration(seconds)} with its evaluations`,
  ].join('\n');
}

export const note = (text: string) => wrapped(text, 100);
