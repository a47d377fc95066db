// Lists cut into records by their bytes, whatever is in the strings and wherever a chunk ends.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Drop } from '../../../cli/data/io/drop.js';
import { listRecords } from '../../../cli/data/io/json_list.js';
import { temporaryFolder } from '../../run_drm.js';

async function read(text: string | Buffer): Promise<unknown[]> {
  const file = join(temporaryFolder(), 'list.json');
  writeFileSync(file, text);
  const found = [];
  for await (const { row, value } of listRecords(file)) {
    expect(row).toBe(found.length);
    found.push(value instanceof Drop ? value.reason : value);
  }
  return found;
}

const odd = [
  { prompt: '}]{["\\', n: { a: [{}, [], '}'] } },
  { prompt: '\u2028 \ud83d\ude00 "x"\t\\u0041', m: null },
  {},
  { prompt: 'e\u0301 é', long: 'ü"'.repeat(300_000) },
];

test('any text in any form of writing', async () => {
  for (const text of [
    JSON.stringify(odd),
    JSON.stringify(odd, null, 4),
    odd.map((one) => JSON.stringify(one)).join('\n'),
  ])
    expect(await read(text)).toEqual(odd);
  expect(await read(Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(' [ {"a":1} ] ')]))).toEqual([
    { a: 1 },
  ]);
  expect(await read('[]')).toEqual([]);
  expect(await read('')).toEqual([]);
  expect(await read('[{"prompt": "\\ud800 alone"}]')).toEqual([{ prompt: '\ud800 alone' }]);
});

test('records that end at every place of a chunk', async () => {
  const many = Array.from({ length: 40_000 }, (_, i) => ({ i, text: 'x'.repeat(i % 97) }));
  expect(await read(JSON.stringify(many))).toEqual(many);
});

test('what is no list is said with its place; one bad record is one drop', async () => {
  await expect(read('{"a": 1')).rejects.toThrow(/byte 7: .*its end too early/);
  await expect(read('[{"a": 1}')).rejects.toThrow(/its end too early/);
  await expect(read('[{"a": 1,}]')).rejects.toThrow(/byte 1: .*malformed record/);
  await expect(read('[1, 2]')).rejects.toThrow(/byte 1: .*found "1"/);
  await expect(read('[{}] {}')).rejects.toThrow(/byte 5: .*found "{"/);
  await expect(read('<?xml?>')).rejects.toThrow(/byte 0: .*found "<"/);
  const bytes = Buffer.from('[{"a": "?"}, {"b": 2}]');
  bytes[8] = 0xff;
  expect(await read(bytes)).toEqual(['bad_record', { b: 2 }]);
  expect(await read(`[{"a": "${'x'.repeat(17 << 20)}"}, {"b": 2}]`)).toEqual(['bad_record', { b: 2 }]);
});
