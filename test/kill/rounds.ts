// Rounds of kills: a task is begun in a new folder, killed some times, ended, and held against its uninterrupted twin.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { changes, killedAgainAndAgain } from '../killing.js';
import { drm, type KillTask } from './tasks.js';

/** Kills of one round: more would leave no time to get anywhere, fewer spend it on starting. */
const A_ROUND = 5;
/** About what the writing of a small file, a checkpoint or the end of a shard takes. */
const WRITING_MS = 30;

export interface Killed {
  kills: number;
  /** What was not as without kills, a sentence each. */
  lost: string[];
  seconds: number;
}

/** Mulberry32: 32 bits of state, uniform in [0, 1). */
export function drawsOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const differences = (found: Record<string, string>, expected: Record<string, string>): string[] =>
  [...new Set([...Object.keys(expected), ...Object.keys(found)])].filter((name) => found[name] !== expected[name]);

/** Kills the task so many times, in folders below `work`; those of rounds that lost something stay. */
export async function killInRounds(
  task: KillTask,
  work: string,
  { kills, seed, say = () => {} }: { kills: number; seed: number; say?: (line: string) => void },
): Promise<Killed> {
  const random = drawsOf(seed);
  const lost: string[] = [];
  const began = performance.now();
  const argumentsIn = (folder: string) => () => [drm, ...task.argv(folder)];
  const none = { kills: 0, withinMs: 0, moment: async () => {} };
  const whole = join(work, 'whole');
  await killedAgainAndAgain(argumentsIn(whole), { ...none, env: task.env?.(whole) ?? {} });
  const expected = task.result(whole);
  const wholeMs = performance.now() - began;
  let done = 0;
  for (let round = 0; done < kills; round++) {
    const folder = join(work, `round-${round}`);
    const before = done;
    try {
      await killedAgainAndAgain(argumentsIn(folder), {
        kills: Math.min(A_ROUND, kills - done),
        env: task.env?.(folder) ?? {},
        random,
        withinMs: WRITING_MS,
        // Mostly while something is put in place; else at any time.
        moment: (lasts) =>
          random() < 0.75
            ? changes(task.folders(folder), 1 + Math.floor(6 * random()), lasts)
            : changes([], 1, within(random() * wholeMs, lasts)),
        afterKill: async () => {
          done += 1;
          await task.afterKill(folder);
        },
      });
      const found = task.result(folder);
      if (!isDeepStrictEqual(found, expected)) throw new Error(`differs in ${differences(found, expected).join(', ')}`);
      rmSync(folder, { recursive: true });
    } catch (error) {
      lost.push(`round ${round} (kills ${before + 1} to ${done}, in ${folder}): ${(error as Error).message}`);
      say(lost.at(-1) as string);
    }
    say(`kills ${done}, lost ${lost.length}`);
  }
  return { kills: done, lost, seconds: (performance.now() - began) / 1000 };
}

/** As `lasts`, but no longer than so long. */
function within(ms: number, lasts: () => boolean): () => boolean {
  const end = performance.now() + ms;
  return () => lasts() && performance.now() < end;
}
