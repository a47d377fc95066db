// CLIP as a reward: names, folders, handles. Its numbers are checked by the golden cases (test/parity/scorers/).
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { cmmd, Scorer } from '../../binding/index.js';
import type { Bitmap, Features } from '../../binding/types.js';
import { findImageReward } from '../../cli/rewards/registry.js';
import { scoreImages } from '../../cli/rewards/reward.js';
import { repository, temporaryFolder } from '../run_drm.js';
import { writeClip } from './clip_folder.js';

const golden = join(repository, 'test/golden/scorers');
const options = { device: 'cpu', dtype: 'fp32' } as const;

async function photo(name: string): Promise<Bitmap> {
  const { data, info } = await sharp(join(golden, `images/photo_${name}.png`), { ignoreIcc: true })
    .removeAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { pixels: data, width: info.width, height: info.height };
}

describe('a CLIP', () => {
  test('reads a folder with its tokenizer and scores pairs by their cosine', async () => {
    const folder = writeClip(temporaryFolder());
    const reward = await findImageReward(`clip:${folder}`).load(options);
    const images = [await photo('97x61'), await photo('132x82')];
    const scores = await scoreImages(reward, images, ['a red fox', 'a cat']);
    const seen = await reward.space?.images(images);
    const said = await reward.space?.captions(['a red fox', 'a cat']);
    for (const i of [0, 1]) {
      let sum = 0;
      for (let k = 0; k < 8; k++) sum += (seen?.values[8 * i + k] as number) * (said?.values[8 * i + k] as number);
      expect(scores[i]).toBeCloseTo(sum, 6);
    }
    expect(scores[0]).not.toBeCloseTo(scores[1] as number, 6);
    reward.dispose();
  });

  test('warns of captions that it does not read to the end', async () => {
    const folder = writeClip(temporaryFolder());
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    const reward = await findImageReward(`clip:${folder}`).load({ ...options, onWarning });
    await reward.space?.captions(['short', 'a very long caption '.repeat(20)]);
    expect(warnings.join()).toContain('24 tokens; 1 of 2 captions are longer');
    reward.dispose();
  });

  test.each([
    ['clip', 'clip:FOLDER'],
    ['clipp:x', 'did you mean clip:FOLDER'],
    ['clip:', 'expected one of'],
    ['constructor:x', 'expected one of'],
  ])('%s is no scorer', (name, part) => {
    expect(() => findImageReward(name)).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringContaining(part) }),
    );
  });

  test('says what a folder lacks', async () => {
    await expect(findImageReward(`clip:${temporaryFolder()}`).load(options)).rejects.toMatchObject({
      code: 'MISSING_WEIGHTS',
      message: expect.stringContaining('config.json'),
    });
    await expect(findImageReward('clip:/nowhere').load(options)).rejects.toMatchObject({ code: 'MISSING_WEIGHTS' });
  });

  test('is refused after dispose, and its running job ends well', async () => {
    const folder = writeClip(temporaryFolder());
    const clip = await Scorer.load(
      { kind: 'clip', config: join(folder, 'config.json'), weights: [join(folder, 'model.safetensors')] },
      options,
    );
    const running = clip.imageFeatures([await photo('97x61')]);
    clip.dispose();
    clip.dispose();
    expect((await running).rows).toBe(1);
    expect(() => clip.imageFeatures([])).toThrow(/disposed/);
  });

  test('stops when aborted', async () => {
    const folder = writeClip(temporaryFolder());
    const clip = await Scorer.load(
      { kind: 'clip', config: join(folder, 'config.json'), weights: [join(folder, 'model.safetensors')] },
      options,
    );
    const abort = new AbortController();
    const many = Array<Bitmap>(5000).fill(await photo('97x61'));
    const job = clip.imageFeatures(many, { signal: abort.signal, onProgress: () => abort.abort() });
    await expect(job).rejects.toMatchObject({ code: 'CANCELLED' });
    clip.dispose();
  });
});

test('CMMD is zero between a set and itself and refuses single images', async () => {
  const width = 4;
  const set = (rows: number, turn: number): Features => ({
    values: Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i * turn + 1) / 2),
    rows,
    width,
  });
  expect(Math.abs((await cmmd(set(9, 0.7), set(9, 0.7))).biased)).toBeLessThan(1e-9);
  expect((await cmmd(set(9, 0.7), set(7, 1.3))).biased).toBeGreaterThan(0);
  await expect(cmmd(set(1, 0.7), set(7, 1.3))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
});
