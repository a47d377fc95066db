// One step as a process of its own: its events into a log that people can read, its progress to whoever asked, signals
// passed on.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Event, Progress } from '../common/events.js';
import { isObject, parseJson } from '../common/json.js';
import { commandLine } from '../common/options.js';
import { metricLine } from '../ui/figures.js';
import { lineOf } from '../ui/state.js';

export interface StepRun {
  /** The program and the arguments before drm's own: node and main.js. */
  program: readonly string[];
  argv: readonly string[];
  log: string;
  signal: AbortSignal;
  onProgress(progress: Omit<Progress, 'id'>): void;
}

export interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** What its error event said. */
  error: string | undefined;
  /** That its first event named. */
  device: string;
  /** The data of its last `result` event. */
  result: unknown;
  /** The end of the log. */
  tail: string[];
}

const TAIL = 12;

/** What a log has of an event; training's figures, too, of which a view has but the last. */
function logLine(event: Event): string | undefined {
  if (event.event === 'metric') return metricLine(event.step, event.total, event.values, event.seconds_left);
  if (event.event === 'error') return undefined; // stderr has it
  return lineOf(event)?.text;
}

function progressOf(event: Event): Omit<Progress, 'id'> | undefined {
  if (event.event === 'progress') {
    const { label, step, total, unit, seconds } = event;
    return { label, step, total, unit, seconds };
  }
  if (event.event !== 'metric') return undefined;
  return { label: 'training', step: event.step, total: event.total, unit: 'step', seconds: event.seconds };
}

/** As Ctrl-C in a terminal: to the process and all that it has started. */
function interrupt(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGINT');
  } catch {} // it has just ended
}

/** Runs `drm argv` to its end. When this process is asked to stop, so is that one, which then saves what it has. */
export async function runStep({ program, argv, log, signal, onProgress }: StepRun): Promise<Outcome> {
  const [node, ...before] = program as [string, ...string[]];
  const outcome: Outcome = { code: null, signal: null, error: undefined, device: '', result: undefined, tail: [] };
  const write = (line: string) => {
    appendFileSync(log, `${line}\n`);
    outcome.tail.push(...line.split('\n'));
    outcome.tail.splice(0, outcome.tail.length - TAIL);
  };
  appendFileSync(log, `# ${new Date().toISOString()}\n$ ${commandLine(argv)}\n`);
  // In a process group of its own: Ctrl-C reaches it from here alone, and once.
  const child = spawn(node, [...before, ...argv, '--json'], { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const stop = () => interrupt(child);
  signal.addEventListener('abort', stop);
  process.on('exit', stop); // the second Ctrl-C
  const take = (line: string) => {
    const event = eventOf(line);
    if (!event) return write(line);
    const text = logLine(event);
    if (text !== undefined) write(text);
    const progress = progressOf(event);
    if (progress) onProgress(progress);
    if (event.event === 'started') outcome.device ||= String(event.facts.device ?? '');
    if (event.event === 'result') outcome.result = event.data;
    if (event.event === 'error') outcome.error = event.message;
  };
  try {
    createInterface({ input: child.stdout }).on('line', take);
    createInterface({ input: child.stderr }).on('line', write);
    if (signal.aborted) stop();
    const [code, by] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    return { ...outcome, code, signal: by };
  } finally {
    signal.removeEventListener('abort', stop);
    process.off('exit', stop);
  }
}

/** A line of --json; undefined for any other. */
function eventOf(line: string): Event | undefined {
  try {
    const value = parseJson(line);
    return isObject(value) && typeof value.event === 'string' ? (value as unknown as Event) : undefined;
  } catch {
    return undefined;
  }
}
