// `npm run kill -- --kills 1000 [--task NAME ...] [--seed N]`: kills each task (all by default) its share of the times with
// kill -9, resumes, and holds what comes out against an uninterrupted run. The last line is `kills N, lost N`.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { killInRounds } from './rounds.js';
import { type KillTaskName, TASKS } from './tasks.js';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    task: { type: 'string', multiple: true, default: Object.keys(TASKS) },
    seed: { type: 'string', default: String(Date.now() % 1e6) },
  },
});
const [kills, seed] = [Number(values.kills), Number(values.seed)];
const unknown = values.task.find((name) => !Object.hasOwn(TASKS, name));
if (unknown !== undefined || !(Number.isInteger(kills) && kills > 0) || !Number.isInteger(seed)) {
  console.error(`usage: npm run kill -- [--kills N] [--task ${Object.keys(TASKS).join('|')}] ... [--seed N]`);
  process.exit(2);
}

const work = mkdtempSync(join(tmpdir(), 'drm-kill-'));
console.log(`seed ${seed}, folder ${work}`);
let [total, lost] = [0, 0];
for (const [n, name] of (values.task as KillTaskName[]).entries()) {
  const share = Math.floor((kills * (n + 1)) / values.task.length) - Math.floor((kills * n) / values.task.length);
  if (share === 0) continue;
  const folder = join(work, name);
  const task = await TASKS[name](folder);
  const killed = await killInRounds(task, folder, {
    kills: share,
    seed: seed + n,
    say: (line) => console.log(`  ${name}: ${line}`),
  });
  await task.close?.();
  total += killed.kills;
  lost += killed.lost.length;
  const each = killed.seconds / killed.kills;
  console.log(`${name}: kills ${killed.kills}, lost ${killed.lost.length}, ${each.toFixed(2)} s a kill`);
  if (killed.lost.length === 0) rmSync(folder, { recursive: true });
}
if (lost === 0) rmSync(work, { recursive: true });
console.log(`kills ${total}, lost ${lost}`);
process.exitCode = lost > 0 ? 1 : 0;
