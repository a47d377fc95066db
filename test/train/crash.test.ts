// Real processes that are killed, interrupted and started twice.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { checkpointNames, killedAgainAndAgain, resuming } from '../killing.js';
import { repository, runDrm, temporaryFolder } from '../run_drm.js';

const program = join(repository, 'dist/test/train/driver.js');
const run = (...args: string[]) => runDrm(['fake', ...args], { program });

const result = (folder: string) => readFileSync(join(folder, 'model.json'), 'utf8');

/** Every metric and evaluation, without what belongs to the machine; fails on a torn line. */
function learned(folder: string): unknown[] {
  const text = readFileSync(join(folder, 'metrics.jsonl'), 'utf8');
  expect(text.endsWith('\n')).toBe(true);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; step: number; values: Record<string, number> })
    .filter(({ event }) => event === 'metric' || event === 'evaluation')
    .map(({ event, step, values: { loss, grad_norm, learning_rate, distance } }) => ({
      event,
      step,
      values: { loss, grad_norm, learning_rate, distance },
    }));
}

const saving = (folder: string) => checkpointNames(folder).some((name) => name.startsWith('.'));

test('kill -9 at random points of saving, again and again: the same model, the same metrics', async () => {
  const whole = join(temporaryFolder(), 'whole');
  expect(await run('--out', whole, '--ballast', '20')).toMatchObject({ code: 0 });

  const folder = join(temporaryFolder(), 'killed');
  const argv = [program, 'fake', '--out', folder, '--ballast', '20', '--checkpoint-every', '4'];
  const delays = await killedAgainAndAgain(resuming(argv), {
    kills: 8,
    withinMs: 60,
    // The second save of a sitting, so that every sitting gets somewhere; the delay covers files, seal and rename.
    moment: async (lasts) => {
      for (let saves = 0, was = false; lasts(); await setTimeout(1)) {
        const now = saving(folder);
        if (now && !was) saves += 1;
        was = now;
        if (saves === 2) break;
      }
    },
  });
  expect(delays.length).toBe(8);
  expect(result(folder), `killed after ${delays} ms`).toBe(result(whole));
  expect(learned(folder)).toEqual(learned(whole));
});

test('Ctrl-C: the step is finished, the checkpoint written, the command that resumes printed', async () => {
  const folder = join(temporaryFolder(), 'run');
  const args = ['fake', '--out', folder, '--step-ms', '20'];
  const stopped = await runDrm([...args, '--json'], {
    program,
    onOutput: { when: '"step":10,', act: (kill) => kill('SIGINT') },
  });
  expect(stopped.code).toBe(130);
  expect(stopped.stderr).toContain('stopping after this step; once more leaves at once');
  const command = `fake --out ${folder} --step-ms 20 --json --resume`;
  expect(stopped.stderr).toMatch(/go on with: (node \S+|drm) fake /); // as it was called
  expect(stopped.stderr).toContain(`${command}\n`);
  const events = stopped.stdout.trimEnd().split('\n');
  const last = JSON.parse(events.at(-1) ?? '') as { code: string; details: { step: string } };
  expect(last.code).toBe('CANCELLED');
  expect(readdirSync(join(folder, 'checkpoints'))).toContain(last.details.step);

  expect((await runDrm(command.split(' '), { program })).code).toBe(0); // as printed
  const whole = join(temporaryFolder(), 'whole');
  await run('--out', whole);
  expect(result(folder)).toBe(result(whole));
});

test('a second Ctrl-C leaves at once, the last checkpoint intact', async () => {
  const folder = join(temporaryFolder(), 'run');
  const child = spawn(process.execPath, [program, 'fake', '--out', folder, '--ballast', '400'], {
    cwd: repository,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const closed = once(child, 'close');
  while (!checkpointNames(folder).includes('8')) await setTimeout(5);
  while (!saving(folder)) await setTimeout(5);
  child.kill('SIGINT');
  await setTimeout(50);
  child.kill('SIGTERM');
  const began = performance.now();
  expect((await closed)[0]).toBe(130);
  expect(performance.now() - began).toBeLessThan(2000);
  const again = await run('--out', folder, '--resume', '--steps', '9');
  expect(again).toMatchObject({ code: 0 });
  expect(again.stderr).toContain(`going on from step 8: ${folder}/checkpoints/8`);
});

test('a second process in a run folder is refused, the first goes on', async () => {
  const folder = join(temporaryFolder(), 'run');
  let second: ReturnType<typeof run> | undefined;
  const first = await runDrm(['fake', '--out', folder, '--step-ms', '50'], {
    program,
    onOutput: {
      when: 'checkpoint: ',
      act: () => {
        second = run('--out', folder, '--resume');
      },
    },
  });
  expect(await second).toMatchObject({ code: 3 });
  expect((await second)?.stderr).toMatch(/expected to be alone in it, found process \d+ at work there/);
  expect(first.code).toBe(0);
  expect(learned(folder).length).toBe(41);
});
