// Runs what is missing of a chain, step after step, and keeps a record of each that is done.

import { existsSync, rmSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { DrmError, type ErrorCode } from '../../binding/error.js';
import type { Events } from '../common/events.js';
import { commandLine } from '../common/options.js';
import { duration } from '../ui/figures.js';
import { type Estimator, timeLeft } from './estimate.js';
import { bytesBelow, type ChainFolder, type StepState } from './folder.js';
import { type Outcome, runStep } from './run_step.js';
import type { Step } from './step.js';

export interface Engine {
  folder: ChainFolder;
  /** The program and the arguments before drm's own. */
  program: readonly string[];
  /** Words that change no result, such as --threads 2. */
  words: readonly string[];
  events: Events;
  signal: AbortSignal;
  /** Whether somebody looks on: else a line at the beginning and the end of each step is all. */
  live: boolean;
  /** The command line that goes on with all of it. */
  again: string;
}

/** A step that is run with what is left after it. */
interface Turn {
  step: Step;
  /** "3/20 train-full". */
  name: string;
}

/** Runs the steps that are not done, in order. Throws DrmError for the first that fails; none is run after it. */
export async function runChain(steps: readonly Step[], estimator: Estimator, engine: Engine): Promise<void> {
  const { folder, events } = engine;
  for (const [i, step] of steps.entries()) {
    const name = `${i + 1}/${steps.length} ${step.id}`;
    const state = folder.look(step);
    if (state.state === 'done') continue;
    const left = timeLeft(steps.slice(i), folder, estimator.learn(steps, folder));
    const verb = state.state === 'resumes' ? 'goes on' : 'begins';
    events.emit({ event: 'info', message: `step ${name} ${verb}: about ${left.first}, all that is left ${left.all}` });
    const seconds = await runOne({ step, name }, state, engine);
    events.emit({ event: 'info', message: `step ${name} done in ${duration(seconds)}` });
  }
}

async function runOne({ step, name }: Turn, state: StepState, engine: Engine): Promise<number> {
  const { folder, events, signal, live } = engine;
  const stamp = state.stamp as string; // all that it needs is done
  const results = folder.resultsOf(step, stamp);
  const argv = folder.argvOf(step, state);
  const began = new Date();
  const goesOn = state.state === 'resumes' && step.resumes === 'by flag' && existsSync(join(results, 'config.json'));
  const words = [...argv, ...engine.words, ...(goesOn ? ['--resume'] : [])];
  const log = folder.logOf(step);
  if (state.state !== 'resumes') rmSync(log, { force: true });
  const outcome = await runStep({
    ...{ program: engine.program, argv: words, log, signal },
    onProgress: ({ label, ...progress }) => {
      if (live) events.emit({ event: 'progress', id: step.id, ...progress, label: `${name}: ${label}` });
    },
  });
  const seconds = (Date.now() - began.getTime()) / 1000;
  if (outcome.code === 0 && existsSync(join(results, step.result))) {
    await folder.record(step, {
      ...{ stamp, argv, began: began.toISOString(), seconds, resumed: state.state === 'resumes' },
      ...{ bytes: bytesBelow(results), device: outcome.device, machine: await machineOf(outcome.device) },
    });
    return seconds;
  }
  if (signal.aborted)
    throw new DrmError('CANCELLED', `stopped in step ${name}; the same command goes on from there: ${engine.again}`);
  throw failure(step, outcome, {
    log,
    command: commandLine(words),
    result: join(results, step.result),
    again: engine.again,
  });
}

/** By the exit code of a command (cli/common/errors.ts); a wrong command line is one of the config's. */
const CODES: Record<number, ErrorCode> = { 1: 'INTERNAL', 2: 'BAD_CONFIG', 3: 'BAD_FILE', 130: 'CANCELLED' };

function endOf({ code, signal }: Outcome, result: string): string {
  if (signal !== null)
    return `it was ended by ${signal}${signal === 'SIGKILL' ? ' (by the system, for lack of memory?)' : ''}`;
  return code === 0 ? `it ended well, and left no ${result}` : `exit code ${code}`;
}

function failure(
  step: Step,
  outcome: Outcome,
  { log, command, result, again }: { log: string; command: string; result: string; again: string },
): DrmError {
  const code = (outcome.code !== null && CODES[outcome.code]) || 'ENVIRONMENT';
  const lines = outcome.tail.map((line) => `  | ${line}`);
  return new DrmError(
    code,
    [
      `[reproduce] step ${step.id}: expected it to end well, found ${endOf(outcome, result)}${outcome.error === undefined ? '' : `: ${outcome.error}`}`,
      `the end of ${log}:`,
      ...lines,
      `by hand: ${command}`,
      `no step after it has been run; mend what it says, then go on with: ${again}`,
    ].join('\n'),
    { step: step.id, log, exit_code: String(outcome.code) },
  );
}

/** What a device is called by people. */
async function machineOf(device: string): Promise<string> {
  const cores = cpus();
  const cpu = `${cores[0]?.model.trim() ?? 'a CPU'}, ${cores.length} cores`;
  if (!device.startsWith('cuda')) return cpu;
  const { runtimeInfo } = await import('../../binding/index.js');
  return runtimeInfo().gpus[Number(device.split(':')[1] ?? 0)]?.name ?? device;
}
