// What doctor says when something is wrong.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runDrm, temporaryFolder } from '../run_drm.js';

test.each(['', 'below'])('an output folder that is a file, or below one, fails with a remedy: %s', async (below) => {
  const file = join(temporaryFolder(), 'file');
  writeFileSync(file, '');
  const { code, stdout, stderr } = await runDrm(['doctor', '--out', join(file, below)]);
  expect(code).toBe(4);
  expect(stdout).toMatch(/^fail +output folder +.*file is a file\n +-> .*--out/m);
  expect(stderr).toContain('output folder failed');
});

test('a token that is none and a cache that is a file fail with a remedy, and the token is not shown', async () => {
  const file = join(temporaryFolder(), 'file');
  writeFileSync(file, '');
  const { code, stdout, stderr } = await runDrm(['doctor'], { env: { HF_TOKEN: 'hf_sec ret', HF_HOME: file } });
  expect(code).toBe(4);
  expect(stdout).toMatch(/^fail +hub token +.*expected a hub token/m);
  expect(stdout).toMatch(/^fail +model cache +.*file is a file\n +-> .*HF_HOME/m);
  expect(stdout + stderr).not.toMatch(/hf_sec|ret$/m);
});

test('--json prints one result a check, and the failure as an event', async () => {
  const file = join(temporaryFolder(), 'file');
  writeFileSync(file, '');
  const { stdout } = await runDrm(['doctor', '--json', '--out', file]);
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const checks = events.filter((e) => e.event === 'result').map((e) => e.data);
  expect(checks.find((c) => c.name === 'output folder')).toMatchObject({ status: 'fail', remedy: expect.any(String) });
  expect(checks.find((c) => c.name === 'addon')).toMatchObject({ status: 'ok' });
  expect(events.at(-1)).toMatchObject({ event: 'error', code: 'ENVIRONMENT', exit_code: 4 });
});
