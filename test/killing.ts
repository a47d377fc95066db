// A program that is killed again and again, without a word, and started anew each time.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { packageRoot } from '../cli/common/root.js';

const namesIn = (folder: string): string[] => {
  try {
    return readdirSync(folder);
  } catch {
    return []; // not there yet
  }
};

/** Names in the run's checkpoints folder, also before it is there. */
export const checkpointNames = (folder: string): string[] => namesIn(join(folder, 'checkpoints'));

/** While a sitting lasts: false once the program has ended by itself. */
export type Lasting = () => boolean;

/** Waits until names have come or gone in these folders so many times: files are begun, put in place, taken away. */
export async function changes(folders: readonly string[], count: number, lasts: Lasting): Promise<void> {
  const look = () => folders.map((folder) => namesIn(folder).join('/')).join('\n');
  for (let seen = 0, before = look(); lasts() && seen < count; await setTimeout(1)) {
    const now = look();
    if (now !== before) seen += 1;
    before = now;
  }
}

/** Waits for the first sign of a checkpoint that was not there. */
export async function nextCheckpoint(folder: string, lasts: Lasting): Promise<void> {
  const before = checkpointNames(folder).length;
  while (lasts() && checkpointNames(folder).length === before) await setTimeout(1);
}

export interface Killing {
  kills: number;
  /** Each kill comes at some moment within so long after what `moment` waits for. */
  withinMs: number;
  moment(lasts: Lasting): Promise<void>;
  /** Uniform in [0, 1). */
  random?(): number;
  env?: Record<string, string>;
  /** After each kill, before the program is started again. */
  afterKill?(): Promise<void>;
}

/**
 * Runs node with these arguments to a good end. Before that it is killed so many times, or fewer where it ends before the
 * moment comes. Returns how long after the moment, each time. Throws what it said where it ends otherwise.
 */
export async function killedAgainAndAgain(
  argumentsOf: (sitting: number) => readonly string[],
  { kills, withinMs, moment, random = Math.random, env = {}, afterKill }: Killing,
): Promise<number[]> {
  const delays: number[] = [];
  for (;;) {
    const child = spawn(process.execPath, argumentsOf(delays.length), {
      cwd: packageRoot,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
    });
    const closed = once(child, 'close');
    let open = true;
    void closed.then(() => {
      open = false;
    });
    let delay: number | undefined;
    if (delays.length < kills) {
      await moment(() => open);
      delay = random() * withinMs;
      await setTimeout(delay);
      if (open) child.kill('SIGKILL');
    }
    const [code, signal] = (await closed) as [number | null, string | null];
    if (code === 0) return delays;
    if (delay !== undefined) delays.push(delay);
    if (signal !== 'SIGKILL') throw new Error(`ended with ${code ?? signal} after kills at ${delays} ms: ${stderr}`);
    await afterKill?.();
  }
}

/** The arguments, from the second sitting on with --resume. */
export const resuming =
  (argv: readonly string[]) =>
  (sitting: number): readonly string[] =>
    sitting > 0 ? [...argv, '--resume'] : argv;
