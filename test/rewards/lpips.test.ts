// LPIPS by name: its files, what it says of images, and of what cannot be compared.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { findDistance } from '../../cli/rewards/distances.js';
import { temporaryFolder } from '../run_drm.js';
import { writeLpips } from './lpips_folder.js';

afterEach(() => vi.unstubAllEnvs());

const image = (seed: number, side = 40) => ({
  pixels: Uint8Array.from({ length: side * side * 3 }, (_, i) => ((i * i * 31 + seed * 977 * (i % 11)) >> 3) & 255),
  width: side,
  height: side,
});

const load = (name: string, onWarning?: (message: string) => void) =>
  findDistance(name).load({ device: 'cpu', ...(onWarning && { onWarning }) });

test('it is 0 between equal images, symmetric, and larger between unlike ones', async () => {
  const lpips = await load(`lpips:${writeLpips(join(temporaryFolder(), 'lpips'))}`);
  try {
    expect(lpips.definition).toBe('LPIPS v0.1, AlexNet');
    const images = [image(1), image(1), image(2)];
    const [equal, one, other] = await lpips.between(images, [
      [0, 1],
      [0, 2],
      [2, 0],
    ]);
    expect(equal).toBe(0);
    expect(one).toBeGreaterThan(0.001);
    expect(other).toBe(one);
    expect(await lpips.between([], [])).toEqual([]);
    await expect(lpips.between([image(1), image(1, 41)], [[0, 1]])).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  } finally {
    lpips.dispose();
  }
});

test('DRM_SCORERS is where its files are looked for', async () => {
  const folder = temporaryFolder();
  writeLpips(join(folder, 'lpips'));
  vi.stubEnv('DRM_SCORERS', folder);
  (await load('lpips')).dispose();
  expect(() => findDistance('lpips-vgg')).toThrow(/lpips-vgg: expected the trunk, torchvision's VGG16, in .*lpips-vgg/);
});

test('a file that is missing is said with where it comes from', () => {
  const folder = writeLpips(join(temporaryFolder(), 'lpips'));
  rmSync(join(folder, 'alex-lin.safetensors'));
  expect(() => findDistance(`lpips:${folder}`)).toThrow(/linear layers of v0\.1 in .*alex\.pth.*lpips 0\.1\.4/);
  rmSync(join(folder, 'alex-trunk.safetensors'));
  expect(() => findDistance(`lpips:${folder}`)).toThrow(/alexnet-owt-7be5be79\.pth.*--diversity lpips:FOLDER/);
});

test('what is no distance is refused', () => {
  expect(() => findDistance('lpisp')).toThrow(/expected one of lpips.*did you mean lpips\?/);
  expect(() => findDistance('lpips:')).toThrow(/expected a folder after the colon; give lpips:FOLDER/);
});

test('the config beside the weights counts: those of another network are told apart', async () => {
  const folder = writeLpips(join(temporaryFolder(), 'lpips'));
  writeFileSync(join(folder, 'config.json'), '{"network": "vgg"}');
  await expect(load(`lpips:${folder}`)).rejects.toMatchObject({
    code: 'KEYS_MISMATCH',
    message: expect.stringContaining('the trunk of network alex, the config says vgg'),
  });
});

test.skipIf(!process.env.DRM_SCORERS)(
  'the published weights are taken for v0.1 (skipped: DRM_SCORERS names no folder of published scorers)',
  async () => {
    for (const name of ['lpips', 'lpips-vgg']) {
      const warnings: string[] = [];
      (await load(name, (message) => warnings.push(message))).dispose();
      expect(warnings).toEqual([]);
    }
  },
);
