// Pieces that can be judged alone.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { nearest } from '../../cli/common/nearest.js';
import { resolveModel } from '../../cli/hub/resolve.js';
import { addText, readText } from '../../cli/image/png_text.js';
import { slug, writePicture } from '../../cli/image/write.js';
import { Tokenizer } from '../../cli/text/tokenizer.js';
import { repository, temporaryFolder } from '../run_drm.js';

const png = () =>
  sharp({ create: { width: 3, height: 2, channels: 3, background: 'red' } })
    .png()
    .toBuffer();

test('text in PNGs survives, whatever it says', async () => {
  const texts = { parameters: 'ünïcode 🦊\nline', drm: JSON.stringify({ long: 'x'.repeat(100_000) }) };
  const made = addText(await png(), texts);
  expect(readText(made)).toMatchObject(texts);
  expect((await sharp(made).metadata()).width).toBe(3);
});

test('files that are no PNG, or a broken one, are refused', async () => {
  const good = addText(await png(), { a: 'b' });
  for (const bad of [Buffer.alloc(0), Buffer.from('GIF89a'), good.subarray(0, 20), good.subarray(0, -4)])
    expect(() => readText(bad)).toThrow(/\[png\]/);
  const flipped = Buffer.from(good);
  flipped[20] = (flipped[20] ?? 0) ^ 1;
  expect(() => readText(flipped)).toThrow(/checksum/);
});

test('pictures are never overwritten by different ones', async () => {
  const folder = temporaryFolder();
  const first = await png();
  const second = addText(first, { a: 'b' });
  expect(await writePicture(folder, 'x', first)).toBe(join(folder, 'x.png'));
  expect(await writePicture(folder, 'x', first)).toBe(join(folder, 'x.png'));
  expect(await writePicture(folder, 'x', second)).toBe(join(folder, 'x-2.png'));
  expect(readFileSync(join(folder, 'x.png')).equals(first)).toBe(true);
});

test('slugs are file names', () => {
  expect(slug('A red fox!')).toBe('a-red-fox');
  expect(slug('../../etc/passwd')).toBe('etc-passwd');
  expect(slug('狐 🦊')).toBe('狐');
  expect(slug('???')).toBe('picture');
  expect(slug('word '.repeat(100)).length).toBeLessThanOrEqual(40);
});

test('the nearest word, when one is near', () => {
  expect(nearest('stepz', ['steps', 'seed'])).toBe('steps');
  expect(nearest('zzzzzz', ['steps', 'seed'])).toBeUndefined();
});

const tokenizers = join(repository, 'test/golden/tokenizers');

test.each(['tokenizer', 'tokenizer_2'])(
  '%s from vocab.json and merges.txt gives the ids of its tokenizer.json',
  async (name) => {
    const folder = temporaryFolder();
    cpSync(join(tokenizers, name), folder, { recursive: true });
    rmSync(join(folder, 'tokenizer.json'));
    rmSync(join(folder, 'tokenizer_config.json'));
    const bare = Tokenizer.fromFolder(folder);
    const full = Tokenizer.fromFolder(join(tokenizers, name));
    for (const { prompt } of JSON.parse(readFileSync(join(tokenizers, 'golden.json'), 'utf8')) as {
      prompt: string;
    }[]) {
      expect(await bare.ids(prompt)).toEqual(await full.ids(prompt));
      expect((await bare.padded(prompt, 77)).ids).toEqual((await full.padded(prompt, 77)).ids);
    }
  },
);

test.each(['tokenizer', 'tokenizer_2', 'tokenizer_3'])('%s takes any string', async (name) => {
  const tokenizer = Tokenizer.fromFolder(join(tokenizers, name));
  for (const text of [
    '',
    '\ud800',
    '\u0000',
    'a\udfffb',
    '🦊'.repeat(1000),
    '\u202e\ufeff',
    '!'.repeat(500),
    'é'.normalize('NFD'),
  ]) {
    const { ids, kept } = await tokenizer.padded(text, 77);
    expect(ids.length).toBe(77);
    expect(kept).toBeLessThanOrEqual(77);
  }
});

test('a cut keeps the closing token and says what is lost', async () => {
  const tokenizer = Tokenizer.fromFolder(join(tokenizers, 'tokenizer'));
  const text = `${'cat '.repeat(90)}the very end`;
  const all = await tokenizer.ids(text);
  const { ids, total, kept, dropped } = await tokenizer.padded(text, 77);
  expect([total, kept]).toEqual([all.length, 77]);
  expect(ids[76]).toBe(BigInt(all.at(-1) ?? -1));
  expect(dropped).toMatch(/the very end$/);
  expect(text.endsWith(dropped)).toBe(true);
});

test('how long a text its model reads', () => {
  const folder = temporaryFolder();
  cpSync(join(tokenizers, 'tokenizer'), folder, { recursive: true });
  const told = (value: unknown) => {
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ model_max_length: value }));
    return Tokenizer.fromFolder(folder).maxLength;
  };
  expect(told(24)).toBe(24);
  expect(told(1e30)).toBeUndefined();
  expect(told(undefined)).toBeUndefined();
  for (const wrong of [0, 1, -3, 2.5, 'long'])
    expect(() => told(wrong)).toThrow(/model_max_length in .*tokenizer_config/);
});

test('tokenizer folders that are not', () => {
  const folder = temporaryFolder();
  expect(() => Tokenizer.fromFolder(folder)).toThrow(/vocab\.json with merges\.txt/);
  writeFileSync(join(folder, 'tokenizer.json'), '{');
  expect(() => Tokenizer.fromFolder(folder)).toThrow(/tokenizer\.json/);
});

test('a single file takes what it lacks from a folder', async () => {
  const single = join(repository, 'test/golden/mmdit_sd35_naming/sd3.5_tiny.safetensors');
  const components = join(repository, 'test/golden/pipeline');
  const { source, tokenizers: found } = await resolveModel(single, { components });
  expect(source.transformer).toEqual({ weights: [single] });
  expect(source.vae.weights).toEqual([join(components, 'vae/diffusion_pytorch_model.safetensors')]);
  expect(found.clipG).toBe(join(components, 'tokenizer_2'));
});

test('shards and variants are found', async () => {
  const folder = join(temporaryFolder(), 'm');
  cpSync(join(repository, 'test/golden/pipeline'), folder, { recursive: true });
  const transformer = join(folder, 'transformer');
  writeFileSync(join(transformer, 'diffusion_pytorch_model.safetensors.index.json'), '{}');
  mkdirSync(join(folder, 'x'));
  const { source, notes } = await resolveModel(folder, { noT5: true });
  expect(source.transformer.weights).toEqual([join(transformer, 'diffusion_pytorch_model.safetensors.index.json')]);
  expect(source.textEncoder3).toBeUndefined();
  expect(notes.join()).toContain('T5 is absent');
});
