// Training steps of two sides, drm and PyTorch: one process each, which take turns, so that whatever else the machine does
// meets both.
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

/** One side: a process that runs as many steps as the line it is given says. */
class Side {
  readonly all: Steps = { wall: [], cpu: [] };
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(
    private readonly command: string,
    script: string,
    workload: Workload,
  ) {
    this.#child = spawn(command, [script, JSON.stringify(workload)], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (!this.#child.stdout) throw new Error('expected a pipe');
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async ready(): Promise<void> {
    while ((await this.#line()) !== 'ready'); // libraries may print before
  }

  async run(steps: number): Promise<Steps> {
    this.#child.stdin?.write(`${steps}\n`);
    return JSON.parse(await this.#line()) as Steps;
  }

  async measure(steps: number): Promise<void> {
    const { wall, cpu } = await this.run(steps);
    this.all.wall.push(...wall);
    this.all.cpu.push(...cpu);
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
  for (const side of Object.values(sides)) await side.run(2); // the first steps allocate and choose kernels
  for (let i = 0; i < repeats; i++) for (const side of Object.values(sides)) await side.measure(steps);
  for (const side of Object.values(sides)) side.close();
  const figure = (of: (steps: Steps) => number): Figures => {
    const each = Object.entries(sides).map(([name, side]) => [name, rounded(of(side.all))] as const);
    const { drm: ours = Number.NaN, pytorch: theirs } = Object.fromEntries(each);
    return { ...Object.fromEntries(each), ...(theirs !== undefined && { ratio: rounded(theirs / ours, 3) }) };
  };
  return {
    median_s: figure(({ wall }) => median(wall)),
    best_s: figure(({ wall }) => Math.min(...wall)),
    median_cpu_s: figure(({ cpu }) => median(cpu)),
  };
}

/** The share of a run's steps spent waiting for data, from what `--json` printed. */
export function dataWait(stdout: string): number {
  for (const line of stdout.split('\n').filter((text) => text.startsWith('{'))) {
    const event = JSON.parse(line) as { event: string; values?: { data_wait?: number } };
    if (event.event === 'metric' && event.values?.data_wait !== undefined) return event.values.data_wait;
  }
  throw new Error(`expected figures of a training, found none in\n${stdout}`);
}
