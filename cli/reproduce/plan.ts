// What `drm reproduce --plan` says: every step with its state, time and disk, and what they come to.
import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { bytes, duration } from '../ui/figures.js';
import { table, wrapped } from '../ui/table.js';
import type { Estimate, Estimator } from './estimate.js';
import type { ChainFolder, StepState } from './folder.js';
import type { Step } from './step.js';

export interface PlannedStep extends Estimate {
  id: string;
  state: StepState['state'];
  argv: string[];
}

const STATES: Record<StepState['state'], string> = {
  done: 'done',
  resumes: 'would resume',
  runs: 'would run',
  anew: 'would run anew: changed',
  waits: 'would run',
  changes: 'would run anew: what it needs changed',
};

const SURE: Record<Estimate['by'], string> = {
  'measured here': 'by steps of the kind that were measured here: within a third, if as little else is running',
  'its own plan': "by the command's own plan, from the shapes of the networks: within a factor of three",
  'the config': 'until a step of the kind is done; below is said how these figures came about',
  nothing: 'unknown until a step of the kind is done',
};

export const planOf = (steps: readonly Step[], folder: ChainFolder, estimator: Estimator): PlannedStep[] =>
  steps.map((step) => {
    const state = folder.look(step);
    const { record } = state;
    const known = state.state === 'done' && record;
    const estimate: Estimate = known
      ? { seconds: record.seconds, bytes: record.bytes, by: 'measured here' }
      : estimator.of(step);
    return { id: step.id, state: state.state, argv: folder.argvOf(step, state), ...estimate };
  });

const sum = (all: readonly (number | undefined)[]): number => all.reduce<number>((total, one) => total + (one ?? 0), 0);

/** "3 h 20 min", "more than …" where some are not known. */
function totalText(all: readonly (number | undefined)[], format: (value: number) => string): string {
  return `${all.includes(undefined) ? 'more than ' : ''}${format(sum(all))}`;
}

/** Bytes that are free where this folder is or will be. */
async function freeBytes(folder: string): Promise<number> {
  let at = resolve(folder);
  while (!existsSync(at)) at = dirname(at);
  const { bavail, bsize } = await statfs(at);
  return bavail * bsize;
}

export interface PlanText {
  config: string;
  out: string;
  costsFrom: string;
  missing: readonly string[];
}

export async function planText(
  plan: readonly PlannedStep[],
  { config, out, costsFrom, missing }: PlanText,
): Promise<string> {
  const left = plan.filter(({ state }) => state !== 'done');
  const rows = plan.map(({ id, state, seconds, bytes: size, by }, i) => [
    `${i + 1} ${id}`,
    STATES[state],
    ...(state === 'done' ? ['took'] : [by]),
    seconds === undefined ? '?' : duration(seconds),
    size === undefined ? '?' : bytes(size),
  ]);
  const wanted = left.map(({ bytes: size }) => size);
  const free = await freeBytes(out);
  const sure = [...new Set(left.map(({ by }) => by))].map((by) => `${by}: ${SURE[by]}`);
  const lines = [
    table(['step', 'state', 'by', 'time', 'disk'], rows, 3),
    '',
    left.length === 0
      ? `nothing is missing; the page is ${out}/reproduction.html`
      : `${left.length} of ${plan.length} steps are missing: ${totalText(
          left.map(({ seconds }) => seconds),
          duration,
        )}, ${totalText(wanted, bytes)} on disk (${bytes(free)} are free), in ${out}`,
    ...sure.map((line) => wrapped(line, 100)),
    ...(left.some(({ by }) => by === 'the config') ? [wrapped(`costs of ${config}: ${costsFrom}`, 100)] : []),
    ...(free < sum(wanted) ? [`warning: less is free than that; name another disk with --out`] : []),
    ...(missing.length > 0 ? ['', `missing on this machine, before it can run (${missing.length}):`] : []),
    ...missing.map((one) => wrapped(`- ${one}`, 100)),
  ];
  return lines.join('\n');
}
