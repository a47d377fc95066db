// The model that comes with drm: found by name, drawing what it was trained to, and read by Python as we read it.
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { repository, runDrm, temporaryFolder } from '../run_drm.js';

const model = join(repository, 'models/tiny');
const pixels = (file: string) => sharp(file).removeAlpha().raw().toBuffer();

/** Mean red, green and blue of the middle of an image. */
async function middle(file: string): Promise<number[]> {
  const { channels } = await sharp(file).extract({ left: 20, top: 24, width: 24, height: 24 }).stats();
  return channels.slice(0, 3).map((channel) => channel.mean);
}

test('`drm sample` without a model draws with the embedded one, by its own recommendations', async () => {
  const out = temporaryFolder();
  const prompts = ['red heart, noto style', 'green heart, noto style', 'blue heart, noto style'];
  const { code, stdout } = await runDrm([
    'sample',
    ...prompts.flatMap((prompt) => ['--prompt', prompt]),
    ...['--seed', '1', '--dtype', 'fp32', '--threads', '1', '--out', out],
  ]);
  expect(code).toBe(0);
  const files = stdout.trim().split('\n');
  // A model that learned nothing draws the same blur for all three.
  for (const [at, file] of files.entries()) {
    const means = await middle(file);
    expect(means.indexOf(Math.max(...means)), `${file}: ${means}`).toBe(at);
  }
});

const weightBytes = (model: string) =>
  readdirSync(join(repository, 'models', model), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.safetensors'))
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);

test('a clone stays small: the base and its judge take 24 MB at most, the reward model 13 MB', () => {
  expect(readdirSync(join(repository, 'models')).sort()).toEqual(['judge', 'tiny', 'tiny-drm']);
  expect(weightBytes('tiny') + weightBytes('judge')).toBeLessThanOrEqual(24_000_000);
  expect(weightBytes('tiny-drm')).toBeLessThanOrEqual(13_000_000);
});

const python = process.env.DRM_BENCH_PYTHON ?? 'python3';
const hasDiffusers = spawnSync(python, ['-c', 'import diffusers'], { stdio: 'ignore' }).status === 0;

// Python is optional: without diffusers this is counted as skipped.
test.skipIf(!hasDiffusers)('diffusers draws the same image from the same folder', { timeout: 300_000 }, async () => {
  const out = temporaryFolder();
  const prompt = 'red apple, noto style';
  const settings = { steps: 6, guidance: 3, seed: 4, height: 64, width: 64, threads: 1, dtype: 'fp32' };
  const flags = Object.entries(settings).flatMap(([key, value]) => [`--${key}`, String(value)]);
  const { stdout } = await runDrm(['sample', '--prompt', prompt, ...flags, '--out', out]);
  const theirs = join(out, 'python.png');
  const script = join(repository, 'test/bench/python/sample_diffusers.py');
  const args = [script, '--model', model, '--prompt', prompt, ...flags, '--t5-length', '0', '--out', theirs];
  const { status, stderr } = spawnSync(python, args, { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  const [a, b] = await Promise.all([pixels(stdout.trim()), pixels(theirs)]);
  expect(a.length).toBe(b.length);
  const worst = a.reduce((most, value, at) => Math.max(most, Math.abs(value - (b[at] ?? 0))), 0);
  expect(worst).toBeLessThanOrEqual(1); // a level of rounding
});
