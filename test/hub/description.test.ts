// What a base says of itself is read once for a model that was found, and anew for one that is found again.
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeBase } from '../../cli/hub/description.js';
import { resolveModel } from '../../cli/hub/resolve.js';
import { fixture, temporaryFolder } from '../run_drm.js';

test('a second question reads no file', async () => {
  const folder = join(temporaryFolder(), 'model');
  cpSync(fixture, folder, { recursive: true });
  const { source } = await resolveModel(folder);
  const again = (await resolveModel(folder)).source;
  const first = describeBase(source);
  expect(first.layers).toBeGreaterThan(0);
  rmSync(join(folder, 'transformer'), { recursive: true });
  expect(describeBase(source)).toBe(first);
  expect(() => describeBase(again)).toThrow(expect.objectContaining({ code: 'BAD_FILE' }));
});
