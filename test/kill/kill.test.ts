// A few kills of what has no such test of its own; `npm run kill` is the long run, of all tasks.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../run_drm.js';
import { killInRounds } from './rounds.js';
import { TASKS } from './tasks.js';

test.each(['pretrain', 'prepare', 'pull'] as const)(
  '%s: killed, it loses nothing',
  { timeout: 240_000 },
  async (name) => {
    const work = join(temporaryFolder(), name);
    const task = await TASKS[name](work);
    try {
      const { kills, lost } = await killInRounds(task, work, { kills: 3, seed: 20261128 });
      expect(lost).toEqual([]);
      expect(kills).toBe(3);
    } finally {
      await task.close?.();
    }
  },
);

test('a kill that costs something is seen', async () => {
  const work = join(temporaryFolder(), 'pull');
  const task = await TASKS.pull(work);
  let asked = 0;
  try {
    // As if the second folder had come out otherwise.
    const result = (folder: string) => ({ ...task.result(folder), ...(asked++ > 0 && { blob: 'other' }) });
    const { lost } = await killInRounds({ ...task, result }, work, { kills: 1, seed: 1 });
    expect(lost).toEqual([expect.stringMatching(/^round 0 \(kills 1 to 1, .*: differs in blob$/)]);
  } finally {
    await task.close?.();
  }
});
