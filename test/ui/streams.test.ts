// Readers that leave, streams that are closed or full, terminals that are closed: work is not lost, and never silently.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { checkpointNames } from '../killing.js';
import { drm, quick, repository, temporaryFolder } from '../run_drm.js';

const driver = join(repository, 'dist/test/train/driver.js');
const fake = (folder: string, more = '') =>
  `"${process.execPath}" "${driver}" fake --step-ms 10 --json --out "${folder}" ${more}`;
const command = (words: string[]) => [process.execPath, drm, ...words].map((word) => `'${word}'`).join(' ');

/** By bash, with PIPESTATUS's first as the code. */
function shell(script: string, env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script], {
    encoding: 'utf8',
    cwd: repository,
    env: { ...process.env, CI: '1', NO_COLOR: '1', ...env },
  });
  return { code: status, stdout, stderr };
}

let whole: string;
const model = (folder: string) => readFileSync(join(folder, 'model.json'), 'utf8');
beforeAll(() => {
  const folder = join(temporaryFolder(), 'run');
  expect(shell(fake(folder)).code).toBe(0);
  whole = model(folder);
});

describe('training goes on to its end', () => {
  test.each([
    ['head has enough of stdout', 0, (run: string) => `${fake(run)} | head -n 1 > /dev/null; exit \${PIPESTATUS[0]}`],
    ['nobody reads stderr', 0, (run: string) => `${fake(run)} 2> >(exec true) > /dev/null`],
    ['nobody reads either', 0, (run: string) => `${fake(run)} 2>&1 | true; exit \${PIPESTATUS[0]}`],
    ['both are closed from the start', 0, (run: string) => `${fake(run)} >&- 2>&-`],
    ['stdin, too', 0, (run: string) => `${fake(run)} <&- >&- 2>&-`],
    ['stderr is full', 0, (run: string) => `${fake(run)} > /dev/null 2> /dev/full`],
    ['stdout is full, which is said', 4, (run: string) => `${fake(run)} > /dev/full`],
  ])('%s', (_, code, script) => {
    const run = join(temporaryFolder(), 'run');
    const ended = shell(script(run));
    expect(ended.code, ended.stderr).toBe(code);
    if (code === 4) expect(ended.stderr).toMatch(/stdout: cannot be written: .*free some space/);
    expect(model(run)).toBe(whole);
    expect(checkpointNames(run)).toContain('40');
    expect(existsSync(join(run, 'run.lock'))).toBe(false);
  });

  test('and says that nobody reads it', () => {
    const run = join(temporaryFolder(), 'run');
    const { stderr } = shell(`${fake(run)} | head -n 1 > /dev/null`);
    expect(stderr).toContain('drm: nobody reads stdout any more; going on without it');
  });
});

const until = (run: string) => `while [ ! -e "${run}/checkpoints/8" ]; do sleep 0.02; done`;

describe('asked to end, training writes a checkpoint and gives the lock back', () => {
  test.each([
    ['SIGHUP', 130, (run: string) => `${fake(run, '--steps 4000')} & ${until(run)}; kill -HUP $!; wait $!`],
    ['SIGTERM', 130, (run: string) => `${fake(run, '--steps 4000')} & ${until(run)}; kill -TERM $!; wait $!`],
    // To the process and to its group, as `timeout` does it.
    [
      'SIGTERM twice at once',
      130,
      (run: string) => `${fake(run, '--steps 4000')} & ${until(run)}; kill $!; kill $!; wait $!`,
    ],
    [
      'SIGHUP twice',
      130,
      (run: string) => `${fake(run, '--steps 4000')} & ${until(run)}; kill -HUP $!; kill -HUP $!; wait $!`,
    ],
    [
      'SIGHUP while nobody reads',
      130,
      (run: string) =>
        `(${fake(run, '--steps 4000')} & ${until(run)}; kill -HUP $!; wait $!; exit $?) 2>&1 | true; exit \${PIPESTATUS[0]}`,
    ],
  ])('%s', async (_, code, script) => {
    const run = join(temporaryFolder(), 'run');
    const ended = shell(script(run));
    expect(ended.code, ended.stderr).toBe(code);
    const last = readFileSync(join(run, 'metrics.jsonl'), 'utf8').trimEnd().split('\n').at(-1) as string;
    const { code: why, details } = JSON.parse(last) as { code: string; details: { step: string } };
    expect(why).toBe('CANCELLED');
    expect(checkpointNames(run)).toContain(details.step);
    expect(existsSync(join(run, 'run.lock'))).toBe(false);
  });

  test('a second Ctrl-C leaves at once, and the lock with it', () => {
    const run = join(temporaryFolder(), 'run');
    const slow = fake(run, '--steps 4000').replace('--step-ms 10', '--step-ms 20000');
    // Without job control bash starts background commands deaf to SIGINT.
    const script = `set -m; ${slow} & while [ ! -e "${run}/metrics.jsonl" ]; do sleep 0.02; done; kill -INT $!; sleep 0.2; kill -INT $!; wait $!`;
    expect(shell(script).code).toBe(130);
    expect(existsSync(join(run, 'run.lock'))).toBe(false);
  });

  test('nohup keeps it going', () => {
    const run = join(temporaryFolder(), 'run');
    // The last word of `_` is what bash has started: the program that nohup replaces itself by.
    const ended = shell(`nohup ${fake(run)} > /dev/null 2>&1 & ${until(run)}; kill -HUP $!; wait $!`);
    expect(ended.code).toBe(0);
    expect(model(run)).toBe(whole);
  });

  const script = spawnSync('script', ['--version']).status === 0;
  test.skipIf(!script)('a closed terminal window (SKIPPED without util-linux `script`)', () => {
    const run = join(temporaryFolder(), 'run');
    const inTerminal = fake(run, '--steps 4000').replace('--json', '');
    const ended = shell(
      `script -qfc '${inTerminal}' /dev/null > /dev/null 2>&1 & ${until(run)}; kill -KILL $!; while [ -e "${run}/run.lock" ]; do sleep 0.02; done`,
      { CI: '', TERM: 'xterm' },
    );
    expect(ended.code).toBe(0);
    const steps = checkpointNames(run).map(Number);
    expect(Math.max(...steps) % 8 === 0 && steps.length === 1).toBe(false); // one more than those due
    expect(readFileSync(join(run, 'metrics.jsonl'), 'utf8')).toContain('"CANCELLED"');
  });
});

test('images are all made though nobody reads their names', () => {
  const out = temporaryFolder();
  const words = command([...quick, '--prompt', 'x', '--n', '3', '--batch', '1', '--out', out]);
  const ended = shell(`${words} | true; exit \${PIPESTATUS[0]}`);
  expect(ended).toMatchObject({ code: 0 });
  expect(readdirSync(out).length).toBe(3);
  const full = shell(`${words} > /dev/full`);
  expect(full.code).toBe(4);
  expect(full.stderr).toContain('stdout: cannot be written');
});

test('what is made to be read ends quietly with its reader, and is not called done', () => {
  for (const words of [['doctor'], ['config', 'show', 'sample/tiny', '--json'], ['--help']]) {
    // Not head, which may read all of it at once: a reader that is gone already.
    const ended = shell(`${command(words)} > >(exec true); exit $?`);
    expect(ended.stderr).toBe('');
    expect([0, 130], ended.stderr).toContain(ended.code);
  }
  const gone = shell(`(sleep 0.1; exec ${command(['doctor'])}) | true; exit \${PIPESTATUS[0]}`);
  expect(gone).toMatchObject({ code: 130, stderr: '' });
});
