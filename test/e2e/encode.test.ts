// `drm data encode` and the training that reads what it left: the same model, to rounding, as one that encodes for itself.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test, vi } from 'vitest';
import { largestDifference, readTensors, writeTensors } from '../parity/safetensors.js';
import { fixture, type Outcome, runDrm, temporaryFolder } from '../run_drm.js';
import { figuresOf, preparedPairs, quickConfig, train } from './reward_training.js';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const work = temporaryFolder();
const pairs = join(work, 'pairs');
const encode = (...more: string[]) =>
  runDrm(['data', 'encode', pairs, '--model', fixture, '--size', '32', '--t5-length', '8', ...more]);
const folder = () => join(pairs, 'encoded', readdirSync(join(pairs, 'encoded'))[0] as string);
const weights = (run: string) => readFileSync(join(work, run, 'model/model.safetensors'));
/** Loss and margin of every step. */
const figures = ({ stdout }: Outcome): number[] =>
  figuresOf(
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    'metric',
  ).flatMap(({ loss, margin }) => [Number(loss), Number(margin)]);
let config = '';
let own: Outcome;

beforeAll(async () => {
  await preparedPairs(pairs);
  config = quickConfig(work);
  own = await train(config, join(work, 'own'));
  expect(own).toMatchObject({ code: 0 });
  expect(await encode()).toMatchObject({ code: 0 });
});

test('a training reads the files and learns the same, to the rounding of other batches', async () => {
  const manifest = JSON.parse(readFileSync(join(folder(), 'encoded.json'), 'utf8'));
  expect(manifest).toMatchObject({ format: 'drm-encoded', size: 32, t5_length: 8, dtype: 'fp32', bad: {} });
  expect(manifest.images).toBeGreaterThan(0);
  const run = await train(config, join(work, 'read'));
  expect(run).toMatchObject({ code: 0 });
  expect(run.stdout).toContain(folder());
  expect(figures(own)).toHaveLength(12);
  expect(largestDifference(figures(run), figures(own))).toBeLessThan(1e-4);

  // The bound would not hold were a file's rows another image's.
  const file = join(folder(), 'latents-00000.safetensors');
  const before = readFileSync(file);
  const tensors = readTensors(file);
  const data = tensors.get('latents')?.data as Float32Array;
  const rows = tensors.get('latents')?.shape[0] as number;
  data.set(new Float32Array(data.length).map((_, i) => data[(i + data.length / rows) % data.length] as number));
  writeTensors(file, tensors);
  const mixedUp = await train(config, join(work, 'mixed-up'));
  writeFileSync(file, before);
  expect(largestDifference(figures(mixedUp), figures(own))).toBeGreaterThan(1e-3);
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
  expect(weights('mended').equals(weights('read'))).toBe(true); // encoded in the same batches, hence the same bits
});

test('a set prepared anew in its place, with more images: what is there of the old one is not taken for it', async () => {
  const grown = join(work, 'grown');
  const encodeGrown = async () => {
    await runDrm(['data', 'encode', grown, '--model', fixture, '--size', '32', '--t5-length', '8']);
    const encoded = join(grown, 'encoded', readdirSync(join(grown, 'encoded'))[0] as string);
    return JSON.parse(readFileSync(join(encoded, 'encoded.json'), 'utf8'));
  };
  await preparedPairs(grown, { train: 4, test: 2 });
  expect(await encodeGrown()).toMatchObject({ images: 12, bad: {} });
  for (const name of readdirSync(grown)) if (name !== 'encoded') rmSync(join(grown, name), { recursive: true });
  await preparedPairs(grown, { train: 6, test: 2 });
  expect(await encodeGrown()).toMatchObject({ images: 16, bad: {} });
});

test('what cannot be encoded is said', async () => {
  const wrong = await runDrm(['data', 'encode', join(work, 'nowhere'), '--model', fixture]);
  expect(wrong.code).toBe(3);
  expect((await encode('--size', '33')).code).toBe(3);
});
