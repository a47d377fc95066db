// CLIP tokenizers learnt from captions. That transformers reads them alike was checked by hand on all captions of the
// emoji set; here the layout that its reading rests on is checked.
import { expect, test } from 'vitest';
import { Tokenizer } from '../../cli/text/tokenizer.js';
import { clipTokenizerFiles, trainMerges, writeTokenizer } from '../../cli/text/train_bpe.js';
import { temporaryFolder } from '../run_drm.js';

const captions = ['Red apple, noto style', 'green apple, noto style', 'red fox, fluent style', 'fox; naïve café 42!'];

async function learn(texts: string[], vocabulary: number, pad: '!' | '<|endoftext|>' = '<|endoftext|>') {
  const folder = temporaryFolder();
  const files = clipTokenizerFiles(texts, { vocabulary, maxLength: 24, pad });
  await writeTokenizer(folder, files);
  return { files, folder, vocab: JSON.parse(files['vocab.json'] as string) as Record<string, number> };
}

test('the most frequent pair is merged first, and ties go by the letters', () => {
  expect(trainMerges(['ab ab ab cd', 'cd xy'], 2)).toEqual([
    ['a', 'b</w>'],
    ['c', 'd</w>'],
  ]);
  expect(trainMerges(['cd ab'], 1)).toEqual([['a', 'b</w>']]);
});

test('overlapping pairs are joined from the left and counted anew', () => {
  // aaaa</w>: a a a a</w>. "a a" counts twice, is joined once (the last a is another symbol).
  expect(trainMerges(['aaaa'], 10)).toEqual([
    ['a', 'a'],
    ['a', 'a</w>'],
    ['aa', 'aa</w>'],
  ]);
});

test('merges do not depend on the order of the texts, and end when every word is one token', () => {
  const all = trainMerges(captions, 1000);
  expect(trainMerges([...captions].reverse(), 1000)).toEqual(all);
  expect(all.length).toBeLessThan(1000);
});

test('ids: 256 byte letters, the same closing a word, merges, start and end', async () => {
  const { vocab, files } = await learn(captions, 600);
  expect(vocab['!']).toBe(0);
  expect(vocab['~']).toBe(93);
  expect(vocab['¡']).toBe(94);
  expect(vocab.Ā).toBe(188); // byte 0
  expect(vocab.Ġ).toBe(188 + 32); // the space
  expect(vocab['!</w>']).toBe(256);
  const merges = (files['merges.txt'] as string).trim().split('\n');
  expect(merges[0]).toBe('#version: 0.2');
  expect(vocab[(merges[1] as string).replace(' ', '')]).toBe(512);
  const size = Object.keys(vocab).length;
  expect(size).toBe(512 + merges.length - 1 + 2);
  expect(vocab['<|startoftext|>']).toBe(size - 2);
  expect(vocab['<|endoftext|>']).toBe(size - 1);
  expect(new Set(Object.values(vocab)).size).toBe(size);
});

test('our tokenizer reads it: known words are one token, any other text is still spelled out', async () => {
  const { folder, vocab } = await learn(captions, 2000);
  const tokenizer = Tokenizer.fromFolder(folder);
  const [start, end] = [vocab['<|startoftext|>'], vocab['<|endoftext|>']];
  const id = (token: string) => vocab[`${token}</w>`];
  expect(await tokenizer.ids('RED  apple,\tstyle')).toEqual([start, id('red'), id('apple'), id(','), id('style'), end]);
  expect(await tokenizer.ids('')).toEqual([start, end]);
  expect((await tokenizer.ids('naïve')).length).toBe(3);
  const unknown = await tokenizer.ids('zebra 😀 日本');
  expect(unknown.length).toBeGreaterThan(6);
  expect(unknown.every((token) => Number.isInteger(token))).toBe(true);
  expect((await tokenizer.padded('red', 6)).ids).toEqual(
    BigInt64Array.from([start, id('red'), end, end, end, end].map(BigInt as never)),
  );
});

test('CLIP-G pads with id 0', async () => {
  const { folder, vocab } = await learn(captions, 2000, '!');
  const { ids } = await Tokenizer.fromFolder(folder).padded('red', 5);
  expect([...ids].map(Number)).toEqual([vocab['<|startoftext|>'], vocab['red</w>'], vocab['<|endoftext|>'], 0, 0]);
});

test('texts without words, half surrogates and very long words do no harm', async () => {
  expect(trainMerges(['', ' \n\t', '\ud800'], 10).length).toBeGreaterThan(0); // U+FFFD is three bytes
  expect(trainMerges([], 10)).toEqual([]);
  const { folder } = await learn(['x'.repeat(100_000)], 530);
  expect((await Tokenizer.fromFolder(folder).ids('xxxx')).length).toBeGreaterThan(2);
});
