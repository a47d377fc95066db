// Where each run stands, in a line: the table on stdout, the first one of the page, and the JSON.

import { own } from '../common/shape.js';
import { bucketOf, duration, label, perStep, quantity } from '../ui/figures.js';
import { table } from '../ui/table.js';
import { finalOf, type Source, valueNames } from './groups.js';
import { inOrder, isCost, NOT_DRAWN } from './measures.js';
import type { RecordedRun } from './read.js';

export interface RunSummary {
  run: string;
  folder: string;
  task: string;
  state: string;
  /** What the run said last, where it was not "done". */
  ended: string;
  step: number;
  steps: number;
  updates: number;
  seconds: number;
  processes: number;
  device_seconds: number;
  warnings: number;
  /** Held-out figures of the last evaluation, and means over the last tenth of training. */
  evaluation: Record<string, number>;
  training: Record<string, number>;
}

/** Held-out figures told of a run. */
const TOLD = 3;

/** Names of figures that are neither of a part of the timesteps nor of a denoising step. */
export const wholeNames = (runs: readonly RecordedRun[], source: Source): string[] =>
  inOrder(valueNames(runs, source).filter((name) => !perStep(name) && !bucketOf(name) && !NOT_DRAWN.includes(name)));

/** "grpo step", "train", "pretrain flow". */
export function taskOf({ config: { task, settings } }: RecordedRun): string {
  return typeof settings.algorithm === 'string' ? `${task} ${settings.algorithm}` : task;
}

function finals(run: RecordedRun, source: Source): Record<string, number> {
  const all = wholeNames([run], source).map((name) => [name, finalOf(run, source, name)] as const);
  return Object.fromEntries(all.filter((entry): entry is readonly [string, number] => entry[1] !== undefined));
}

export function summaryOf(run: RecordedRun): RunSummary {
  return {
    run: run.name,
    folder: run.folder,
    task: taskOf(run),
    state: run.end.state,
    ended: run.end.text,
    step: run.at.step,
    steps: run.total,
    updates: Math.round(run.at.updates),
    seconds: run.seconds,
    processes: run.processes,
    device_seconds: run.at.device,
    warnings: run.warnings.reduce((sum, { count }) => sum + count, 0),
    evaluation: finals(run, 'evaluations'),
    training: finals(run, 'metrics'),
  };
}

/** The same as cells: head and a row a run. */
export function summaryCells(runs: readonly RecordedRun[]): { head: string[]; rows: string[][] } {
  const summaries = runs.map(summaryOf);
  const measured = wholeNames(runs, 'evaluations').slice(0, TOLD);
  const trained = wholeNames(runs, 'metrics')
    .filter((name) => !isCost(name))
    .slice(0, 1);
  const policy = summaries.some(({ step, updates }) => step !== updates);
  const columns = [
    ...measured.map((name) => ({ name, from: 'evaluation' as const, title: `held-out ${label(name)}` })),
    ...trained.map((name) => ({ name, from: 'training' as const, title: `training ${label(name)}` })),
  ];
  return {
    head: [
      'run',
      'task',
      'state',
      'step',
      ...(policy ? ['updates'] : []),
      'time',
      'warnings',
      ...columns.map(({ title }) => title),
    ],
    rows: summaries.map((one) => [
      one.run,
      one.task,
      one.state,
      `${one.step}/${one.steps || '?'}`,
      ...(policy ? [String(one.updates)] : []),
      `${duration(one.seconds)}${one.processes > 1 ? ` x ${one.processes}` : ''}`,
      String(one.warnings),
      ...columns.map(({ name, from }) => {
        const value = own(one[from], name);
        return value === undefined ? '-' : quantity(name, value);
      }),
    ]),
  };
}

export function summaryText(runs: readonly RecordedRun[]): string {
  const { head, rows } = summaryCells(runs);
  return table(head, rows, 3);
}
