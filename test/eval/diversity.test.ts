// How far images of one prompt are apart: the arithmetic, and `drm eval images --diversity` as a user runs it.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { measureDiversity, pairsByPrompt } from '../../cli/eval/diversity.js';
import { findDistance } from '../../cli/rewards/distances.js';
import type { Distance } from '../../cli/rewards/reward.js';
import { writeLpips } from '../rewards/lpips_folder.js';
import { fixture, runDrm, temporaryFolder } from '../run_drm.js';

test('pairs are all those of a prompt, prompts by their first images; one image is no pair', () => {
  const prompts = [7, 3, 7, 9, 7, 3];
  expect(pairsByPrompt(prompts.length, (i) => prompts[i] as number)).toEqual([
    [
      [0, 2],
      [0, 4],
      [2, 4],
    ],
    [[1, 5]],
  ]);
  expect(pairsByPrompt(3, (i) => i)).toEqual([]);
});

test('the mean is over pairs, then over prompts, and a prompt is read at a time', async () => {
  const values = [0, 10, 1, 5, 3, 14];
  const prompts = [7, 3, 7, 9, 7, 3];
  const reading: number[][] = [];
  const distance: Distance = {
    ...{ name: 'toy', definition: 'difference of bytes', weights: '' },
    between: async (images, pairs) => {
      reading.push(images.map(({ pixels }) => pixels[0] as number));
      return pairs.map(([i, j]) => Math.abs((images[i]?.pixels[0] ?? 0) - (images[j]?.pixels[0] ?? 0)));
    },
    dispose() {},
  };
  const steps: number[] = [];
  const { diversity, byPrompt } = await measureDiversity(
    distance,
    values.length,
    (i) => prompts[i] as number,
    async (i) => ({ pixels: Uint8Array.of(values[i] as number, 0, 0), width: 1, height: 1 }),
    { onImages: (done) => steps.push(done) },
  );
  expect(reading).toEqual([
    [0, 1, 3],
    [10, 14],
  ]);
  expect(byPrompt).toEqual([2, 4]); // (1 + 3 + 2) / 3, and 4: pooled over pairs it would be 2.5
  expect(diversity).toMatchObject({ distance: 'toy', pairs: 4, mean: { mean: 3, n: 2 } });
  expect(steps).toEqual([3, 5]);
});

// Runs of the whole program; on a busy machine each may take a quarter of a minute.
describe('drm eval images --diversity', { timeout: 180_000 }, () => {
  test('says what the distances of the images on disk say, setting by setting', async () => {
    const folder = temporaryFolder();
    const prompts = join(folder, 'prompts.txt');
    const out = join(folder, 'out');
    writeFileSync(prompts, 'a red square\na blue disc\n');
    const name = `lpips:${writeLpips(join(folder, 'lpips'))}`;
    const common = ['eval', 'images', '--model', fixture, '--prompts', prompts, '--diversity', name, '--out', out];
    const quick = ['--steps', '2', '--size', '32', '--threads', '1', '--batch', '1', '--json'];

    const alone = await runDrm([...common, ...quick]);
    expect(alone.code).toBe(2);
    expect(alone.stdout + alone.stderr).toContain('--diversity compares images of one prompt; give --n 2 or more');

    const { code, stdout, stderr } = await runDrm([...common, ...quick, '--n', '3', '--sweep', 'guidance=1,4']);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const events = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const { data, text } = events.find(({ event }) => event === 'result');
    expect(JSON.parse(readFileSync(join(out, 'results.json'), 'utf8'))).toEqual(data);

    const lpips = await findDistance(name).load({ device: 'cpu' });
    const means: number[] = [];
    for (const { folder } of data.rows) {
      const images = await Promise.all(
        readdirSync(folder)
          .filter((file) => file.endsWith('.png'))
          .map(async (file) => {
            const { data: pixels, info } = await sharp(join(folder, file)).raw().toBuffer({ resolveWithObject: true });
            return { pixels: new Uint8Array(pixels), width: info.width, height: info.height };
          }),
      );
      const distances = await lpips.between(
        images,
        [0, 3].flatMap((at) =>
          (
            [
              [0, 1],
              [0, 2],
              [1, 2],
            ] as const
          ).map(([i, j]) => [at + i, at + j] as const),
        ),
      );
      means.push(distances.reduce((sum, value) => sum + value, 0) / 6);
    }
    lpips.dispose();
    const [one, four] = data.rows;
    expect(one.diversity).toMatchObject({ distance: name, definition: 'LPIPS v0.1, AlexNet', pairs: 6 });
    expect(one.diversity.mean.n).toBe(2);
    expect(one.diversity.mean.mean).toBeCloseTo(means[0] as number, 6);
    expect(four.diversity.mean.mean).toBeCloseTo(means[1] as number, 6);
    expect(one.diversity.mean.mean).toBeGreaterThan(0);
    expect(one.diversity.against_first).toBeUndefined();
    expect(four.diversity.against_first.mean).toBeCloseTo((means[1] as number) - (means[0] as number), 6);
    expect(one.verdicts).toEqual([]);
    expect(text).toContain(`diversity by ${name}: LPIPS v0.1, AlexNet\n6 pairs of images of 2 prompts\n`);
    expect(text).toMatch(/setting +distance +against guidance=1/);
  });
});
