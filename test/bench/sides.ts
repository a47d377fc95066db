// Two sides, drm and PyTorch: one process each, which take turns, so that whatever else the machine does meets both.
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { median, python, pythonHas, repository, rounded } from './common.js';
import type { Workload } from './training_steps.js';

/** Seconds of each step: by the clock, and of the process's own computing, which a busy machine disturbs less. */
interface Steps {
  wall: number[];
  cpu: number[];
}

/** One side: a process that answers each line it is given by a line of JSON. */
export class Side {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(
    private readonly command: string,
    script: string,
    workload: object,
  ) {
    this.#child = spawn(command, [script, JSON.stringify(workload)], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (!this.#child.stdout) throw new Error('expected a pipe');
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async ready(): Promise<void> {
    while ((await this.#line()) !== 'ready'); // libraries may print before
  }

  async ask<T>(line: string): Promise<T> {
    this.#child.stdin?.write(`${line}\n`);
    return JSON.parse(await this.#line()) as T;
  }

  close(): void {
    this.#child.stdin?.end();
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.command} ended; its messages are above`);
    return value;
  }
}

export type Figures = Record<string, number>;

/** Seconds a step of both sides and their ratio; of drm alone where this Python lacks `module`. */
export async function compareSteps(
  work: Workload,
  module: string,
  { repeats, steps }: { repeats: number; steps: number },
): Promise<{ median_s: Figures; best_s: Figures; median_cpu_s: Figures }> {
  const own = { drm: new Side(process.execPath, join(repository, 'dist/test/bench/training_steps.js'), work) };
  const script = join(repository, 'test/bench/python/training_torch.py');
  const sides: Record<string, Side> = pythonHas(module) ? { ...own, pytorch: new Side(python, script, work) } : own;
  for (const side of Object.values(sides)) await side.ready();
  for (const side of Object.values(sides)) await side.ask('2'); // the first steps allocate and choose kernels
  const all = await takeTurns<Steps>(sides, repeats, String(steps));
  for (const side of Object.values(sides)) side.close();
  return {
    median_s: figures(all, (runs) => median(runs.flatMap((run) => run.wall))),
    best_s: figures(all, (runs) => Math.min(...runs.flatMap((run) => run.wall))),
    median_cpu_s: figures(all, (runs) => median(runs.flatMap((run) => run.cpu))),
  };
}

/** What each side answers to one line, asked `repeats` times in turn. */
export async function takeTurns<T>(
  sides: Record<string, Side>,
  repeats: number,
  line: string,
): Promise<Record<string, T[]>> {
  const all: Record<string, T[]> = {};
  for (const name of Object.keys(sides)) all[name] = [];
  for (let i = 0; i < repeats; i++)
    for (const [name, side] of Object.entries(sides)) all[name]?.push(await side.ask<T>(line));
  return all;
}

/** A figure of each side and, where PyTorch is one of them, PyTorch's over drm's. */
export function figures<T>(all: Record<string, T[]>, of: (answers: T[]) => number): Figures {
  const each = Object.fromEntries(Object.entries(all).map(([name, answers]) => [name, rounded(of(answers))]));
  const { drm: ours = Number.NaN, pytorch: theirs } = each;
  return { ...each, ...(theirs !== undefined && { ratio: rounded(theirs / ours, 3) }) };
}

/** The share of a run's steps spent waiting for data, from what `--json` printed. */
export function dataWait(stdout: string): number {
  for (const line of stdout.split('\n').filter((text) => text.startsWith('{'))) {
    const event = JSON.parse(line) as { event: string; values?: { data_wait?: number } };
    if (event.event === 'metric' && event.values?.data_wait !== undefined) return event.values.data_wait;
  }
  throw new Error(`expected figures of a training, found none in\n${stdout}`);
}
