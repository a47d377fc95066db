// CLIP as a judge, from picture files to features, against transformers and Pillow (golden scorers); and its handles.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { ClipScorer, cmmd, resizePictures } from '../../binding/index.js';
import type { Bitmap, Features } from '../../binding/types.js';
import { loadScorer } from '../../cli/scorers/registry.js';
import { readTensors, type Tensor } from '../parity/safetensors.js';
import { repository, temporaryFolder } from '../run_drm.js';
import { type ClipSizes, clipConfig, writeClip } from './clip_folder.js';

const golden = join(repository, 'test/golden/scorers');
const io = readTensors(join(golden, 'io.safetensors'));
const { cases } = JSON.parse(readFileSync(join(golden, 'config.json'), 'utf8'));
const options = { device: 'cpu', dtype: 'fp32' } as const;

async function photo(name: string): Promise<Bitmap> {
  const { data, info } = await sharp(join(golden, `images/photo_${name}.png`), { ignoreIcc: true })
    .removeAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { pixels: data, width: info.width, height: info.height };
}

const stored = (name: string): Tensor => {
  const tensor = io.get(name);
  if (!tensor) throw new Error(`no ${name}`);
  return tensor;
};

function unit(rows: ArrayLike<number>, width: number): number[] {
  const values = Array.from(rows);
  return values.map((value, i) => {
    const row = values.slice(Math.floor(i / width) * width, (Math.floor(i / width) + 1) * width);
    return value / Math.hypot(...row);
  });
}

describe('pictures are resampled as Pillow does, bit for bit', () => {
  const square: { image: string; kind: string; size: number }[] = cases.pre.config.square;
  test.each(square)('$image to $size, $kind', async ({ image, kind, size }) => {
    const rule = kind === 'square_tv' ? 'torchvision' : 'transformers';
    const [got] = await resizePictures({ pictures: [await photo(image)], width: size, height: size, square: rule });
    const want = stored(`pre/${kind}_${size}_${image}_u8`);
    expect([got?.height, got?.width, 3]).toEqual(want.shape);
    expect(Buffer.compare(got?.pixels as Uint8Array, want.data as Uint8Array)).toBe(0);
  });
});

describe.each(['clip_l', 'clip_h'])('%s', (name) => {
  const sizes = cases[name].config as ClipSizes & { images: string[] };
  const load = () => {
    const config = join(temporaryFolder(), 'config.json');
    writeFileSync(config, JSON.stringify(clipConfig(sizes)));
    return ClipScorer.load({ config, weights: [join(golden, `${name}.hf.safetensors`)] }, options);
  };

  test('gives the features of transformers from files and token ids', async () => {
    using clip = await load();
    expect(clip.info).toMatchObject({ imageSize: 56, tokens: 16, width: sizes.proj });
    expect(clip.info.logitScale).toBeCloseTo(Math.log(100), 5);
    const images = await clip.imageFeatures(await Promise.all(sizes.images.map(photo)));
    expect([images.rows, images.width]).toEqual([3, sizes.proj]);
    const ids = stored(`${name}/input_ids`).data as BigInt64Array;
    const texts = await clip.textFeatures([0, 1, 2].map((i) => ids.slice(16 * i, 16 * i + 16)));
    const compare = (got: Features, want: Tensor) => {
      const expected = unit(want.data as Float32Array, sizes.proj);
      const worst = Math.max(...expected.map((value, i) => Math.abs(value - (got.values[i] as number))));
      expect(worst).toBeLessThan(5e-6);
    };
    compare(images, stored(`${name}/image_features`));
    compare(texts, stored(`${name}/text_features`));
  });
});

describe('a scorer', () => {
  test('reads a folder with its tokenizer and scores pairs by their cosine', async () => {
    const folder = writeClip(temporaryFolder());
    const scorer = await loadScorer(`clip:${folder}`, options);
    const pictures = [await photo('97x61'), await photo('132x82')];
    const scores = await scorer.score(pictures, ['a red fox', 'a cat']);
    const seen = await scorer.space?.pictures(pictures);
    const said = await scorer.space?.captions(['a red fox', 'a cat']);
    for (const i of [0, 1]) {
      let sum = 0;
      for (let k = 0; k < 8; k++) sum += (seen?.values[8 * i + k] as number) * (said?.values[8 * i + k] as number);
      expect(scores[i]).toBeCloseTo(sum, 6);
    }
    expect(scores[0]).not.toBeCloseTo(scores[1] as number, 6);
    scorer.dispose();
  });

  test('warns of captions that it does not read to the end', async () => {
    const folder = writeClip(temporaryFolder());
    const warnings: string[] = [];
    const scorer = await loadScorer(`clip:${folder}`, { ...options, onWarning: (message) => warnings.push(message) });
    await scorer.space?.captions(['short', 'a very long caption '.repeat(20)]);
    expect(warnings.join()).toContain('24 tokens; 1 of 2 captions are longer');
    scorer.dispose();
  });

  test.each([
    ['clip', 'clip:FOLDER'],
    ['clipp:x', 'did you mean clip:FOLDER'],
    ['clip:', 'expected one of'],
    ['constructor:x', 'expected one of'],
  ])('%s is no scorer', async (name, part) => {
    await expect(loadScorer(name, options)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(part),
    });
  });

  test('says what a folder lacks', async () => {
    await expect(loadScorer(`clip:${temporaryFolder()}`, options)).rejects.toMatchObject({
      code: 'MISSING_WEIGHTS',
      message: expect.stringContaining('config.json'),
    });
    await expect(loadScorer('clip:/nowhere', options)).rejects.toMatchObject({ code: 'MISSING_WEIGHTS' });
  });

  test('is refused after dispose, and its running job ends well', async () => {
    const folder = writeClip(temporaryFolder());
    const clip = await ClipScorer.load(
      { config: join(folder, 'config.json'), weights: [join(folder, 'model.safetensors')] },
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
    const clip = await ClipScorer.load(
      { config: join(folder, 'config.json'), weights: [join(folder, 'model.safetensors')] },
      options,
    );
    const abort = new AbortController();
    const many = Array<Bitmap>(5000).fill(await photo('97x61'));
    const job = clip.imageFeatures(many, { signal: abort.signal, onProgress: () => abort.abort() });
    await expect(job).rejects.toMatchObject({ code: 'CANCELLED' });
    clip.dispose();
  });
});

test('CMMD is zero between a set and itself and refuses single pictures', async () => {
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
