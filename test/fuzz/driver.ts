// Fuzzing what reads untrusted bytes. A target has good inputs and a function that reads one; the driver spoils the good
// ones, the same way every time for the same seed, in a child process that it can kill. An answer or a DrmError is right;
// any other error, a crash, a hang and more than MEMORY bytes are findings.
//   npm run fuzz -- [--inputs N] [--target NAME]… [--seed N] [--input I | --file F]
// N inputs are shared by the targets; --input runs that one alone, as a finding says, --file another one.
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { mutate } from './mutate.js';

export interface FuzzTarget {
  /** Unique among all targets. */
  name: string;
  /** Inputs that are right, in a fixed order; called once in each process. */
  seeds: () => Uint8Array[];
  /** Reads the input as the product would. May throw DrmError; anything else thrown is a finding. */
  run: (input: Uint8Array) => Promise<void> | void;
  /** Words of the format, put into inputs here and there. */
  words?: readonly string[];
  /** Makes checksums right again, so that what lies behind them is reached; used on every second input. */
  repair?: (input: Uint8Array) => Uint8Array;
}

/** An input that takes more time of the processor is a hang. The slowest good ones take a hundredth of it. */
const LONGEST_MS = 10_000;
/** What waits takes none; on a busy machine everything takes longer than it should. */
const WAITING = 6;
/** Of resident memory, of which an empty child takes some 100 MB. */
export const MEMORY = 1 << 30;
/** Inputs of a child, so that what they leave behind together is not mistaken for one that takes memory. */
const INPUTS_A_CHILD = 20_000;

export interface Finding {
  target: string;
  seed: number;
  /** The input's number; with target and seed it makes the input again. */
  input: number;
  what: string;
  /** Where the input was saved. */
  file: string;
}

/** What a child tells; it says nothing of inputs that are right. */
export type Told = { input: number; what: string } | { input: number; memory: number } | { done: number };

/** A target and the module that has it, which a child loads. */
export interface Found {
  target: FuzzTarget;
  module: string;
}

/** What a module exports as `targets`. */
export async function targetsIn(module: string): Promise<Found[]> {
  const { targets = [] } = (await import(pathToFileURL(module).href)) as { targets?: FuzzTarget[] };
  return targets.map((target) => ({ target, module }));
}

/** The targets of every file here but the driver's own. */
export async function allTargets(): Promise<Found[]> {
  const here = fileURLToPath(new URL('.', import.meta.url));
  const names = readdirSync(here).filter((name) => /^(?!(driver|mutate|main)\.)\w+\.js$/.test(name));
  return (await Promise.all(names.sort().map((name) => targetsIn(join(here, name))))).flat();
}

/** The input of that number. */
export function inputOf(target: FuzzTarget, seeds: readonly Uint8Array[], seed: number, input: number): Uint8Array {
  const spoilt = mutate(seeds, { seed, input, words: target.words ?? [] });
  return target.repair && input % 2 === 1 ? target.repair(spoilt) : spoilt;
}

/** Where a child puts what its target reads from files: gone with the driver, in memory where the system has such a place. */
export const scratch = (): string => process.env.DRM_FUZZ_SCRATCH ?? tmpdir();

export interface FuzzOptions {
  seed: number;
  /** The first input's number. */
  from: number;
  inputs: number;
  /** Findings are saved here. */
  folder: string;
  /** An input that takes longer is a hang; 10 s by default. */
  longestMs?: number;
  onProgress?: (done: number) => void;
}

/** Runs inputs `from` to `from + inputs - 1` of a target. What went wrong in the same way is one finding, by its first input. */
export async function fuzz({ target, module }: Found, options: FuzzOptions): Promise<Finding[]> {
  const { seed, from, inputs, folder, longestMs = LONGEST_MS, onProgress } = options;
  const findings = new Map<string, Finding>();
  const seeds = target.seeds();
  const found = (input: number, what: string) => {
    const kind = what.replace(/\d+/g, 'N').split('\n').slice(0, 3).join('\n');
    if (findings.has(kind)) return;
    mkdirSync(folder, { recursive: true });
    const file = join(folder, `${target.name}-${seed}-${input}`);
    writeFileSync(file, inputOf(target, seeds, seed, input));
    findings.set(kind, { target: target.name, seed, input, what, file });
  };
  const child = (first: number, last: number) =>
    runChild({ module, target: target.name, seed, longestMs }, first, last, found);
  const end = from + inputs;
  for (let next = from; next < end; ) {
    const last = Math.min(end, next + INPUTS_A_CHILD);
    const stop = await child(next, last);
    if (stop.memory !== undefined) {
      // Was it this input, or all of them together? Alone it takes as much again, or it does not.
      const alone = stop.input === next ? stop : await child(stop.input, stop.input + 1);
      if (alone.memory !== undefined) found(stop.input, `took ${alone.memory >> 20} MiB of memory`);
    } else if (stop.fault !== undefined) found(stop.input, stop.fault);
    next = stop.input + 1;
    onProgress?.(next - from);
  }
  return [...findings.values()];
}

interface Stop {
  /** The last input that was run. */
  input: number;
  /** It ended the process so. */
  fault?: string;
  /** It is where the process reached so many bytes. */
  memory?: number;
}

/** Of a process since its start; undefined where the system does not tell. Linux counts hundredths of a second. */
function cpuMs(pid: number | undefined): number | undefined {
  try {
    // After the name, which may hold spaces: utime and stime are fields 14 and 15.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return 10 * (Number(fields[11]) + Number(fields[12]));
  } catch {
    return undefined;
  }
}

/** Runs inputs in a process of their own, until the end or until one ends the process. */
function runChild(
  { module, target, seed, longestMs }: { module: string; target: string; seed: number; longestMs: number },
  from: number,
  to: number,
  found: (input: number, what: string) => void,
): Promise<Stop> {
  const place = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const folder = join(place, `drm-fuzz-${process.pid}-${target}`);
  mkdirSync(folder, { recursive: true });
  const progress = join(folder, 'progress');
  writeFileSync(progress, String(from));
  const child: ChildProcess = fork(
    fileURLToPath(new URL('./main.js', import.meta.url)),
    ['--child', module, target, String(seed), String(from), String(to), progress],
    {
      env: { ...process.env, DRM_FUZZ_SCRATCH: folder, UV_THREADPOOL_SIZE: '2' },
      execArgv: [`--max-old-space-size=${MEMORY >> 20}`],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    },
  );
  let at = from;
  let since = Date.now();
  let used = 0;
  let isHung = false;
  let memory: number | undefined;
  let isDone = false;
  let stderr = '';
  child.stderr?.on('data', (data: Buffer) => {
    stderr = (stderr + data.toString()).slice(-4000);
  });
  const clock = setInterval(() => {
    const now = Number(readFileSync(progress, 'utf8')) || at;
    const cpu = cpuMs(child.pid);
    if (now !== at) {
      at = now;
      since = Date.now();
      used = cpu ?? 0;
    } else if ((cpu ?? 0) - used > longestMs || Date.now() - since > WAITING * longestMs) {
      isHung = true;
      child.kill('SIGKILL');
    }
  }, 500);
  child.on('message', (told: Told) => {
    if ('done' in told) isDone = true;
    else if ('memory' in told) memory = told.memory;
    else found(told.input, told.what);
  });
  return new Promise((settle) => {
    child.on('close', (code, signal) => {
      clearInterval(clock);
      const input = isDone ? to - 1 : Number(readFileSync(progress, 'utf8'));
      rmSync(folder, { recursive: true, force: true });
      if (isDone) settle({ input });
      else if (memory !== undefined) settle({ input, memory });
      else if (isHung) settle({ input, fault: `ran for more than ${longestMs / 1000} s` });
      else settle({ input, fault: `ended the process with ${signal ?? `code ${code}`}\n${stderr.trim()}` });
    });
  });
}
