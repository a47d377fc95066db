// What OpenMP is told about waiting, as its library reports it when it loads.
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { drm } from '../run_drm.js';

function spinCount(env: Record<string, string>): string | undefined {
  const { OMP_WAIT_POLICY: _, GOMP_SPINCOUNT: __, ...rest } = process.env;
  const { stderr } = spawnSync(process.execPath, [drm, 'doctor'], {
    env: { ...rest, ...env, OMP_DISPLAY_ENV: 'verbose' },
    encoding: 'utf8',
  });
  return /GOMP_SPINCOUNT = '(\d+)'/.exec(stderr)?.[1];
}

test('threads spin for a short while, or as the user says', () => {
  expect(spinCount({})).toBe('50000');
  expect(spinCount({ GOMP_SPINCOUNT: '7' })).toBe('7');
  expect(spinCount({ OMP_WAIT_POLICY: 'passive' })).toBe('0');
});
