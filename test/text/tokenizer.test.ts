// Tokenizers of the golden cases: ids, cuts, folders that are none.
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Tokenizer } from '../../cli/text/tokenizer.js';
import { repository, temporaryFolder } from '../run_drm.js';

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
