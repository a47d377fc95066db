// `drm data encode` and the training that reads what it left: the same model as one that encodes for itself.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test, vi } from 'vitest';
import { fixture, runDrm, temporaryFolder } from '../run_drm.js';
import { preparedPairs, quickConfig, train } from './reward_training.js';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const work = temporaryFolder();
const pairs = join(work, 'pairs');
const encode = (...more: string[]) =>
  runDrm(['data', 'encode', pairs, '--model', fixture, '--size', '32', '--t5-length', '8', ...more]);
const folder = () => join(pairs, 'encoded', readdirSync(join(pairs, 'encoded'))[0] as string);
const weights = (run: string) => readFileSync(join(work, run, 'model/model.safetensors'));
let config = '';

beforeAll(async () => {
  await preparedPairs(pairs);
  config = quickConfig(work);
  expect(await train(config, join(work, 'own'))).toMatchObject({ code: 0 });
  expect(await encode()).toMatchObject({ code: 0 });
});

test('a training reads the files and learns the same to the bit', async () => {
  const manifest = JSON.parse(readFileSync(join(folder(), 'encoded.json'), 'utf8'));
  expect(manifest).toMatchObject({ format: 'drm-encoded', size: 32, t5_length: 8, dtype: 'fp32', bad: {} });
  expect(manifest.pictures).toBeGreaterThan(0);
  const run = await train(config, join(work, 'read'));
  expect(run).toMatchObject({ code: 0 });
  expect(run.stdout).toContain(folder());
  expect(weights('read').equals(weights('own'))).toBe(true);
});

test('encoding again does nothing anew; after files are lost it makes them as they were', async () => {
  const latents = join(folder(), 'latents-00000.safetensors');
  const before = readFileSync(latents);
  rmSync(join(folder(), 'encoded.json'));
  rmSync(join(folder(), 'latents-00000.json'));
  rmSync(latents);
  expect(await encode()).toMatchObject({ code: 0 });
  expect(readFileSync(latents).equals(before)).toBe(true);
  expect(existsSync(join(folder(), 'encoded.json'))).toBe(true);
});

test('another size or dtype is another encoding; a set that changed is told', async () => {
  expect(await encode('--dtype', 'bf16')).toMatchObject({ code: 0 });
  expect(readdirSync(join(pairs, 'encoded'))).toHaveLength(2);
  for (const name of readdirSync(join(pairs, 'encoded'))) {
    const rows = join(pairs, 'encoded', name, 'latents-00000.json');
    const { rows: ids } = JSON.parse(readFileSync(rows, 'utf8')) as { rows: string[] };
    writeFileSync(rows, JSON.stringify({ rows: ['someone-else', ...ids.slice(1)], bad: {} }));
  }
  const run = await train(config, join(work, 'changed'));
  expect(run.code).toBe(3);
  expect(run.stdout + run.stderr).toMatch(/found none of .*encode the set again/s);
  for (const dtype of ['fp32', 'bf16']) expect(await encode('--dtype', dtype)).toMatchObject({ code: 0 });
  expect(await train(config, join(work, 'mended'))).toMatchObject({ code: 0 });
  expect(weights('mended').equals(weights('own'))).toBe(true);
});

test('a set prepared anew in its place, with more pictures: what is there of the old one is not taken for it', async () => {
  const grown = join(work, 'grown');
  const encodeGrown = async () => {
    await runDrm(['data', 'encode', grown, '--model', fixture, '--size', '32', '--t5-length', '8']);
    const encoded = join(grown, 'encoded', readdirSync(join(grown, 'encoded'))[0] as string);
    return JSON.parse(readFileSync(join(encoded, 'encoded.json'), 'utf8'));
  };
  await preparedPairs(grown, { train: 4, test: 2 });
  expect(await encodeGrown()).toMatchObject({ pictures: 12, bad: {} });
  for (const name of readdirSync(grown)) if (name !== 'encoded') rmSync(join(grown, name), { recursive: true });
  await preparedPairs(grown, { train: 6, test: 2 });
  expect(await encodeGrown()).toMatchObject({ pictures: 16, bad: {} });
});

test('what cannot be encoded is said', async () => {
  const wrong = await runDrm(['data', 'encode', join(work, 'nowhere'), '--model', fixture]);
  expect(wrong.code).toBe(3);
  expect((await encode('--size', '33')).code).toBe(3);
});
