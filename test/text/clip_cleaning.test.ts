// Prompts cleaned as open_clip cleans them. html_unescape.json is what Python 3.11's html.unescape gives; ids of whole prompts are
// compared in test/parity/scorers/texts.ts.
import { createHash } from 'node:crypto';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cleanForOpenClip, unescapeHtml, whatFtfyMayAlter } from '../../cli/text/clip_cleaning.js';
import { clipRow } from '../../cli/text/clip_rows.js';
import { MPS_CONDITION, MPS_CONDITION_SHA256 } from '../../cli/text/mps_condition.js';
import { Tokenizer } from '../../cli/text/tokenizer.js';
import { repository, temporaryFolder } from '../run_drm.js';

test('references are resolved as Python resolves them', () => {
  const pairs = JSON.parse(readFileSync(join(import.meta.dirname, 'html_unescape.json'), 'utf8')) as [string, string][];
  for (const [text, expected] of pairs) expect([text, unescapeHtml(text)]).toEqual([text, expected]);
});

test.each([
  ['Tom &amp; Jerry &lt;3', 'tom & jerry <3'],
  ['&amp;amp;lt;', '&lt;'], // twice and no further
  ['  A\tB\n\u00a0C\u3000 ', 'a b c'],
  ['a\ufeffb\u200bc', 'a\ufeffb\u200bc'], // no blanks to Python
  ['a\x1cb\x85c', 'a b c'], // but these are
  ['&nbsp;a&#32;', 'a'],
  ['ΣΑΣ', 'σας'],
  ['', ''],
  ['&', '&'],
])('%j becomes %j', (prompt, cleaned) => expect(cleanForOpenClip(prompt)).toBe(cleaned));

test('what ftfy may repair is found, and plain prompts are left alone', () => {
  for (const plain of [
    'a photo of a cat',
    'café naïve 日本語 😀',
    'déjà vu – “'.slice(0, 9),
    'Ñandú Å É!',
    'a\tb\nc',
    'über',
  ])
    expect(whatFtfyMayAlter(plain)).toBeUndefined();
  for (const [prompt, part] of [
    ['cafÃ© au lait', 'Ã©'],
    ['itâ€™s', 'â€'],
    ['it’s', '’'],
    ['“quoted”', '“'],
    ['ﬁne', 'ﬁ'],
    ['ＦＵＬＬ', 'Ｆ'],
    ['a\x07b', '\x07'],
    ['a\ufeffb', '\ufeff'],
    ['a\x92b', '\x92'],
    ['\ud83d', '\ud83d'],
  ] as const)
    expect(whatFtfyMayAlter(prompt)).toBe(part);
});

test('the condition of MPS is its authors`, to the letter', () => {
  expect(MPS_CONDITION).toHaveLength(182);
  expect(createHash('sha256').update(MPS_CONDITION).digest('hex')).toBe(MPS_CONDITION_SHA256);
});

test('rows are padded as the scorer reads them, whatever the tokenizer pads with', async () => {
  const folder = temporaryFolder();
  cpSync(join(repository, 'test/golden/tokenizers/tokenizer'), folder, { recursive: true });
  const rows = [];
  for (const pad of ['<|endoftext|>', '!']) {
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ pad_token: pad }));
    const tokenizer = Tokenizer.fromFolder(folder);
    const [start, end] = (await tokenizer.ids('')).map(BigInt);
    for (const [style, fill] of [['transformers', end] as const, ['open_clip', 0n] as const]) {
      const { ids, dropped } = await clipRow(tokenizer, 'a cat', 24, style);
      const at = ids.indexOf(end as bigint);
      expect(ids[0]).toBe(start);
      expect([...new Set(ids.slice(at + 1))]).toEqual([fill]);
      expect(dropped).toBe('');
      expect((await clipRow(tokenizer, '', 24, style)).ids.slice(0, 3)).toEqual(
        BigInt64Array.of(start ?? 0n, end ?? 0n, fill ?? 0n),
      );
      const long = await clipRow(tokenizer, 'cat '.repeat(99), 24, style);
      expect(long.ids).toHaveLength(24);
      expect(long.ids[23]).toBe(end);
      expect(long.dropped).toMatch(/cat/);
      rows.push(ids);
    }
  }
  expect(rows[0]).toEqual(rows[2]);
  expect(rows[1]).toEqual(rows[3]);
});
