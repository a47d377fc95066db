// Commands that are printed run as they stand.
import { spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { callOf } from '../../cli/common/called.js';
import { drm, repository, runDrm, temporaryFolder } from '../run_drm.js';

test('drm where PATH leads to it, npx drm by npx, else node with the file, near or far', () => {
  const folder = temporaryFolder();
  const program = join(folder, 'it is', 'main.js');
  mkdirSync(join(folder, 'it is'));
  mkdirSync(join(folder, 'bin'));
  writeFileSync(program, '');
  expect(callOf(program, {}, folder)).toBe("node 'it is/main.js'");
  expect(callOf(program, { PATH: join(folder, 'bin') }, '/')).toBe(`node '${program}'`);
  symlinkSync(program, join(folder, 'bin/drm'));
  expect(callOf(program, { PATH: join(folder, 'bin') }, folder)).toBe('drm');
  expect(callOf(program, { npm_lifecycle_event: 'npx', npm_lifecycle_script: 'drm list' }, folder)).toBe('npx drm');
});

test('hints, errors and examples of help begin so; where drm is spoken of it keeps its name', async () => {
  const run = (...args: string[]) => {
    const env = { ...process.env, CI: '1', PATH: '/usr/bin:/bin', npm_lifecycle_event: '' };
    return spawnSync(process.execPath, [drm, ...args], { encoding: 'utf8', env, cwd: repository });
  };
  const call = 'node dist/cli/main.js';
  expect(run('sample', '--help').stdout).toContain(`$ ${call} sample "a red apple" -n 4`);
  expect(run('config', 'check').stderr).toContain(`such as ${call} config check my.json`);
  expect(run('smaple').stderr).toContain(`\`${call} --help\``);
  const missing = run('sample', 'x', '--model', 'sd3.5-medium').stderr;
  expect(missing).toContain(`\`${call} pull stabilityai/`);
  expect((await runDrm(['config', 'check'])).stderr).toContain('such as drm config check my.json');
});
