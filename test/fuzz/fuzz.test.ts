// A bounded run of every fuzzing target, and that the driver finds what it is for. `npm run fuzz` runs longer.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { repository, runDrm, temporaryFolder } from '../run_drm.js';
import { mutate } from './mutate.js';

const program = join(repository, 'dist/test/fuzz/main.js');
const fuzz = (...args: string[]) => runDrm([...args, '--folder', temporaryFolder()], { program });

test('no target gives a crash, a hang, 1 GiB or an error of another kind', async () => {
  const { code, stdout, stderr } = await fuzz('--inputs', '500', '--seed', '1');
  expect(stdout + stderr).not.toContain('FOUND');
  expect(stdout).toMatch(/^parquet: \d+ inputs, 0 findings/m);
  expect(code).toBe(0);
}, 120_000);

test('the driver finds errors, crashes, hangs and memory, and says how to see them again', async () => {
  const folder = temporaryFolder();
  const run = (inputs: string, longest: string, ...names: string[]) => {
    const targets = ['--module', join(repository, 'dist/test/fuzz/faulty/targets.js'), '--longest', longest];
    const named = names.flatMap((name) => ['--target', name]);
    return runDrm(['--inputs', inputs, ...targets, ...named, '--folder', folder], { program });
  };
  const [most, memory] = await Promise.all([
    run('60', '2', 'right', 'bug', 'internal', 'abort', 'hang', 'unheard'),
    run('1', '30', 'memory'),
  ]);
  expect([most.code, memory.code]).toEqual([1, 1]);
  const stdout = most.stdout + memory.stdout;
  const lines = stdout.split('\n');
  const after = (name: string) => lines.slice(lines.findIndex((line) => line.startsWith(`${name}:`)) + 1).join('\n');
  expect(stdout).toContain('right: 10 inputs, 0 findings');
  for (const [name, what] of [
    ['bug', 'FOUND TypeError: read properties of undefined'],
    ['internal', 'FOUND DrmError: cannot be'],
    ['abort', 'FOUND ended the process with SIGABRT'],
    ['hang', 'FOUND ran for more than 2 s'],
    ['memory', 'FOUND took 1'],
    ['unheard', 'FOUND unhandledRejection: Error: nobody listens'],
  ] as const) {
    expect(after(name).trimStart()).toMatch(new RegExp(`^${what}`));
    expect(after(name)).toMatch(new RegExp(`again: npm run fuzz -- --target ${name} --seed 0 --input \\d`));
  }
  expect(existsSync(join(folder, 'abort-0-3'))).toBe(true);
}, 120_000);

test('an input is a function of seed and number', () => {
  const seeds = [readFileSync(join(repository, 'package.json')), Buffer.from('other')];
  const input = (seed: number, number: number) => mutate(seeds, { seed, input: number, words: ['word'] });
  for (let i = 0; i < 50; i++) expect(input(1, i)).toEqual(input(1, i));
  const different = new Set(Array.from({ length: 50 }, (_, i) => Buffer.from(input(1, i)).toString('latin1')));
  expect(different.size).toBeGreaterThan(45);
  expect(input(2, 1)).not.toEqual(input(1, 1));
});
