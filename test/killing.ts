// A program that is killed again and again, without a word, and started anew each time.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect } from 'vitest';
import { repository } from './run_drm.js';

/** Names in the run's checkpoints folder, also before it is there. */
export const checkpointNames = (folder: string): string[] => {
  try {
    return readdirSync(join(folder, 'checkpoints'));
  } catch {
    return [];
  }
};

/** While a sitting lasts: false once the program has ended by itself. */
export type Lasting = () => boolean;

/** Waits for the first sign of a checkpoint that was not there. */
export async function nextCheckpoint(folder: string, lasts: Lasting): Promise<void> {
  const before = checkpointNames(folder).length;
  while (lasts() && checkpointNames(folder).length === before) await setTimeout(1);
}

/**
 * Runs node with these arguments to a good end, `--resume` among them from the second time on. Before that it is killed so
 * many times, each at some moment within `withinMs` after what `moment` waits for. Returns how long after, each time.
 */
export async function killedAgainAndAgain(
  argv: string[],
  { kills, withinMs, moment }: { kills: number; withinMs: number; moment: (lasts: Lasting) => Promise<void> },
): Promise<number[]> {
  const delays: number[] = [];
  for (;;) {
    const args = delays.length > 0 ? [...argv, '--resume'] : argv;
    const child = spawn(process.execPath, args, { cwd: repository, stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
    });
    const closed = once(child, 'close');
    let open = true;
    void closed.then(() => {
      open = false;
    });
    if (delays.length < kills) await moment(() => open);
    if (open && delays.length < kills) {
      const delay = Math.random() * withinMs;
      delays.push(delay);
      await setTimeout(delay);
      child.kill('SIGKILL');
    }
    const [code] = (await closed) as [number | null];
    if (code === 0) break;
    expect(code, `after ${delays} ms: ${stderr}`).toBe(null);
  }
  expect(delays.length).toBe(kills);
  return delays;
}
