// BERT's WordPiece: the golden ids, and what BERT does with accents, marks, scripts and unknown words.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Tokenizer } from '../../cli/text/tokenizer.js';
import { blipTokenizer } from '../../cli/text/wordpiece.js';
import { repository, temporaryFolder } from '../run_drm.js';

const golden = join(process.env.DRM_GOLDEN || join(repository, 'test/golden'), 'scorers');

interface GoldenTexts {
  bert_tiny: {
    vocab: string;
    max_length: number;
    prompts: string[];
    input_ids: number[][];
    attention_mask: number[][];
  };
}

const NEEDED = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
const [FIRST, LAST] = [2, 3];

function folderOf(entries: string[]): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'vocab.txt'), `${entries.join('\n')}\n`);
  return folder;
}

/** The ids between those that open and close a text. */
async function inner(tokenizer: Tokenizer, text: string): Promise<number[]> {
  const ids = await tokenizer.ids(text);
  expect([ids[0], ids.at(-1)]).toEqual([FIRST, LAST]);
  return ids.slice(1, -1);
}

test('the golden prompts have their ids and their padding', async () => {
  const { bert_tiny: stored } = JSON.parse(readFileSync(join(golden, 'text.json'), 'utf8')) as GoldenTexts;
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'vocab.txt'), readFileSync(join(golden, stored.vocab)));
  const tokenizer = blipTokenizer(folder);
  expect(stored.prompts.length).toBeGreaterThan(3);
  for (const [i, prompt] of stored.prompts.entries()) {
    const { ids, kept } = await tokenizer.padded(prompt, stored.max_length);
    expect(Array.from(ids, Number), prompt).toEqual(stored.input_ids[i]);
    const mask = stored.attention_mask[i] as number[];
    expect(mask).toEqual(mask.map((_, at) => (at < kept ? 1 : 0)));
  }
});

test.each([
  ['capitals and accents fall', '\u00c9lan  E\u0301LAN', ['elan', 'elan']],
  ['a dotted capital I has no dot of its own', '\u0130', ['i']],
  ['marks stand alone, words are cut into the longest pieces', "don't!", ['don', "'", 't', '!']],
  ['characters of Chinese stand alone', 'x\u65e5\u672ci', ['x', '\u65e5', '\u672c', 'i']],
  [
    'control characters vanish, blanks of all kinds part',
    'e\u0000la\u200bn\ufffd\u00a0i\u2028x\ty',
    ['elan', 'i', 'x', '[UNK]'],
  ],
  ['unknown words are one token', 'elan zebra elanq', ['elan', '[UNK]', '[UNK]']],
  [
    'so are words that are too long',
    `x${'t'.repeat(100)} x${'t'.repeat(99)}`,
    ['[UNK]', 'x', ...Array(99).fill('##t')],
  ],
  ['special tokens may be written out', 'x [SEP] [ENC]', ['x', '[SEP]', '[ENC]']],
  ['nothing is nothing', '', []],
  ['half a surrogate pair vanishes', '\ud800 x', ['x']],
])('%s', async (_, text, want) => {
  const entries = [...NEEDED, 'elan', 'i', 'don', "'", 't', '!', 'x', '\u65e5', '\u672c', '##t'];
  const tokenizer = blipTokenizer(folderOf(entries));
  const all = [...entries, '[DEC]', '[ENC]'];
  expect((await inner(tokenizer, text)).map((id) => all[id])).toEqual(want);
});

test('BLIP’s tokens come behind BERT’s 30,522', async () => {
  const entries = [...NEEDED, ...Array.from({ length: 30_522 - NEEDED.length }, (_, i) => `w${i}`)];
  const tokenizer = blipTokenizer(folderOf(entries));
  expect(await tokenizer.size()).toBe(30_524);
  expect(await inner(tokenizer, 'w0 [DEC] [ENC] w30516')).toEqual([5, 30_522, 30_523, 30_521]);
});

test('a cut keeps the closing token and says what is lost', async () => {
  const tokenizer = blipTokenizer(folderOf([...NEEDED, 'cat', 'the', 'end']));
  const prompt = `${'cat '.repeat(40)}the end`;
  const { ids, total, kept, dropped } = await tokenizer.padded(prompt, 35);
  expect([ids.length, total, kept, Number(ids[34])]).toEqual([35, 44, 35, LAST]);
  expect(prompt.endsWith(dropped) && dropped.length).toBe('cat '.length * 7 + 'the end'.length);
  const short = await tokenizer.padded('cat', 35);
  expect([short.kept, short.dropped, Number(short.ids[3])]).toEqual([3, '', 0]);
  expect(Array.from((await tokenizer.padded('', 35)).ids.slice(0, 3), Number)).toEqual([FIRST, LAST, 0]);
});

test('a tokenizer.json counts as its vocabulary', async () => {
  const entries = [...NEEDED, 'cat', '##s'];
  const folder = folderOf(entries);
  const want = await blipTokenizer(folder).ids('Cats [ENC]');
  expect(want).toEqual([FIRST, 5, 6, 8, LAST]);
  const write = (added: string[]) =>
    writeFileSync(
      join(folder, 'tokenizer.json'),
      JSON.stringify({
        truncation: { max_length: 3, strategy: 'LongestFirst', stride: 0, direction: 'Right' },
        normalizer: null, // not what BERT's has: it is not asked
        added_tokens: added.map((content, i) => ({ id: i < NEEDED.length ? i : i + 2, content, special: true })),
        model: { type: 'WordPiece', vocab: Object.fromEntries(entries.map((entry, id) => [entry, id])) },
      }),
    );
  write(NEEDED);
  expect(await blipTokenizer(folder).ids('Cats [ENC]')).toEqual(want);
  write([...NEEDED, '[DEC]', '[ENC]']);
  expect(await blipTokenizer(folder).ids('Cats [ENC]')).toEqual(want);
  expect(await blipTokenizer(folder).size()).toBe(entries.length + 2);
});

test.each([
  [
    'no [SEP]',
    ['[PAD]', '[UNK]', '[CLS]', 'cat'],
    /expected an entry \[SEP\], found none; is it bert-base-uncased's\?/,
  ],
  ['capitals', [...NEEDED, 'cat', 'Cat'], /expected an uncased vocabulary, found "Cat"/],
  ['an entry twice', [...NEEDED, 'cat', 'cat'], /each entry once, found "cat" on lines 6 and 7/],
])('a vocabulary with %s is refused', (_, entries, message) => {
  expect(() => blipTokenizer(folderOf(entries))).toThrow(message);
});

test.each([
  ['ids with a gap', { model: { vocab: { '[PAD]': 0, '[UNK]': 1, '[CLS]': 2, '[SEP]': 4 } } }, /ids 0 to 3, each once/],
  ['an id twice', { model: { vocab: { '[PAD]': 0, '[UNK]': 1, '[CLS]': 1, '[SEP]': 2 } } }, /each once, found 3/],
  ['pieces with scores', { model: { vocab: [['a', 0]] } }, /model\.vocab/],
  ['no model', {}, /model/],
])('a tokenizer.json with %s is refused', (_, json, message) => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json));
  expect(() => blipTokenizer(folder)).toThrow(message);
});

test('a folder without either says whose vocabulary is meant', () => {
  const folder = temporaryFolder();
  expect(existsSync(join(folder, 'vocab.txt'))).toBe(false);
  expect(() => blipTokenizer(folder)).toThrow(/expected BERT's tokenizer\.json or vocab\.txt.*bert-base-uncased/);
  writeFileSync(join(folder, 'vocab.txt'), Buffer.from([0xff, 0xfe, 0x41, 0x00]));
  expect(() => blipTokenizer(folder)).toThrow(/UTF-16/);
});
