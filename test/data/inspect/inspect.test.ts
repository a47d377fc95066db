// `drm data inspect`: figures and the contact sheet.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { captionLines } from '../../../cli/data/inspect/contact_sheet.js';
import { escapeXml } from '../../../cli/text/xml.js';
import { repository, runDrm, temporaryFolder } from '../../run_drm.js';
import { write, writeImages } from '../images.js';

const newFolder = () => join(temporaryFolder(), 'set');

test('captions are wrapped by words, cut with an ellipsis, and wide letters count twice', () => {
  expect(captionLines('mosquito, twemoji style')).toEqual(['mosquito, twemoji', 'style']);
  expect(captionLines('face savoring food, noto style')).toEqual(['face savoring food,', 'noto style']);
  expect(captionLines('')).toEqual(['']);
  expect(captionLines('x'.repeat(100))).toEqual(['x'.repeat(22), 'x'.repeat(22), `${'x'.repeat(21)}…`]);
  expect(captionLines('日'.repeat(12))).toEqual(['日'.repeat(11), '日']);
  expect(captionLines('one two three four five six seven eight nine ten eleven twelve thirteen').length).toBe(3);
});

test('no caption breaks out of a page', () => {
  expect(escapeXml(`<b a="1">'&\u0000\ud800`)).toBe('&#60;b a=&#34;1&#34;&#62;&#39;&#38;\\u0000\ufffd');
});

test('inspect: figures as JSON, a sheet as PNG and as a page that needs nothing else', async () => {
  const captions = [
    '<script>alert(1)</script> & "co"',
    '日本語のとても長いキャプション'.repeat(20),
    'x'.repeat(100_000),
    '\u0007 bell',
    'a',
  ];
  const source = await writeImages(temporaryFolder(), 5);
  write(source, {
    'captions.jsonl': captions
      .map((caption, i) => JSON.stringify({ image: `images/${i}.png`, caption, style: i % 2 ? 'odd' : 'even' }))
      .join('\n'),
  });
  const set = newFolder();
  await runDrm(['data', 'prepare', 'jsonl', '--from', source, '--out', set]);
  const { code, stdout } = await runDrm([
    'data',
    'inspect',
    set,
    '--json',
    '--verify',
    '--seed',
    '3',
    '--samples',
    '4',
  ]);
  expect(code).toBe(0);
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const result = events.find(({ event }) => event === 'result')?.data as Record<string, unknown>;
  expect(result).toMatchObject({
    samples: 5,
    kinds: { style: { even: 3, odd: 2 } },
    captions: { distinct: 5, characters: { least: 1, most: 100_000 } },
    images: { opened: 5, formats: { png: 5 }, width: { least: 40, most: 40 }, bad: [] },
  });
  const page = readFileSync(join(set, 'contact-sheet.html'), 'utf8');
  expect(page.match(/<figure/g)?.length).toBe(4);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the page must not have one
  expect(page).not.toMatch(/<script|\u0007|(src|href)="(?!data:)/);
  const png = readFileSync(join(set, 'contact-sheet.png'));
  await runDrm(['data', 'inspect', set, '--seed', '3', '--samples', '4']);
  expect(readFileSync(join(set, 'contact-sheet.png')).equals(png)).toBe(true);

  writeFileSync(join(set, 'train-00000.tar'), readFileSync(join(set, 'train-00000.tar')).fill(7, 2000, 2100));
  const spoilt = await runDrm(['data', 'inspect', set, '--verify']);
  expect(spoilt.stderr).toContain('its content has changed');
  expect(spoilt.code).toBe(3);
  const nothing = await runDrm(['data', 'inspect', temporaryFolder()]);
  expect(nothing.stderr).toContain('expected a prepared set with manifest.json, found none');
  expect(nothing.code).toBe(3);
});

test('inspect of pairs: figures, and a sheet of chosen beside rejected', async () => {
  const set = newFolder();
  await runDrm(['data', 'prepare', 'hpdv3', '--from', join(repository, 'test/samples/hpdv3'), '--out', set]);
  const { code, stdout } = await runDrm(['data', 'inspect', set, '--json', '--samples', '3', '--verify']);
  expect(code).toBe(0);
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(events.find(({ event }) => event === 'result')?.data).toMatchObject({
    pairs: 11,
    records: 15,
    splits: { train: 6, test: 5 },
    kinds: { source: { hpdv3: 11 } },
    prompts: { distinct: 8, characters: { most: 20_000 } },
    images: { distinct: 22, uses: { most: 1 }, formats: { jpg: 18, png: 2, webp: 2 }, bad: [] },
  });
  const page = readFileSync(join(set, 'contact-sheet.html'), 'utf8');
  expect(page.match(/<img class="chosen"/g)?.length).toBe(3);
  expect(page.match(/<img class="rejected"/g)?.length).toBe(3);
  expect(page).not.toMatch(/<script|(src|href)="(?!data:)/);
  // The left half of the sheet's first bar is the chosen one's green, the right half the rejected one's red.
  const { data, info } = await sharp(join(set, 'contact-sheet.png')).raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number) => [...data.subarray((y * info.width + x) * info.channels).subarray(0, 3)];
  expect(at(12 + 64, 24 + 128 + 1)).toEqual([0x2b, 0x8a, 0x3e]);
  expect(at(12 + 130 + 64, 24 + 128 + 1)).toEqual([0xc9, 0x2a, 0x2a]);
  expect((await runDrm(['data', 'inspect', set, '--split', 'tset'])).stderr).toContain('expected split tset, found');
});
