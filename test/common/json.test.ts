// JSON as Python writes it and editors save it; shapes of what is read. Values are those of Python's json.loads, with null
// for NaN and infinities.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { isUtf16, parseJson, readJson, readObject, readShaped } from '../../cli/common/json.js';
import { jsonValues } from '../../cli/common/json_forms.js';
import { count, listOf, mapOf, objectOf, optional, own, text } from '../../cli/common/shape.js';
import { temporaryFolder } from '../run_drm.js';

const here = temporaryFolder();
const file = (content: string | Uint8Array): string => {
  const path = join(here, 'some.json');
  writeFileSync(path, content);
  return path;
};

describe('numbers that are none', () => {
  test.each([
    ['NaN', null],
    ['[NaN, Infinity, -Infinity, -1]', [null, null, null, -1]],
    ['{"a":NaN,"b":{"c":[Infinity]},"NaN":1}', { a: null, b: { c: [null] }, NaN: 1 }],
    ['{"t": "NaN", "u": "a\\"NaN, Infinity\\\\", "v": -Infinity}', { t: 'NaN', u: 'a"NaN, Infinity\\', v: null }],
    ['{"t": "\\\\\\"NaN"  ,\n"u":\tNaN\n}', { t: '\\"NaN', u: null }],
    ['\ufeff {"a": NaN}', { a: null }],
  ])('%s', (given, value) => expect(parseJson(given)).toEqual(value));

  test.each([
    'nan',
    'NaNs',
    '-NaN',
    '+Infinity',
    'Infinit',
    '[NaN NaN]',
    '{NaN: 1}',
    '1NaN',
    '"NaN',
    'NaN"',
    '--Infinity',
  ])('%s is no JSON, as in Python', (given) => expect(() => parseJson(given)).toThrow(SyntaxError));

  test('a text of many megabytes that holds the words stays as it is', () => {
    const long = 'NaN \\" Infinity '.repeat(300_000);
    expect(parseJson(`{"a": "${long}", "b": NaN}`)).toEqual({ a: long.replaceAll('\\"', '"'), b: null });
  });
});

test('what is nested too deep to be written again is refused, what merely looks like it is not', () => {
  expect(() => parseJson(`${'['.repeat(200_000)}${']'.repeat(200_000)}`)).toThrow(/nested more than 1000 deep/);
  expect(parseJson(JSON.stringify({ a: '[{'.repeat(5000) }))).toEqual({ a: '[{'.repeat(5000) });
  expect(parseJson(`${'['.repeat(999)}${']'.repeat(999)}`)).toBeInstanceOf(Array);
});

test('encodings: a mark is passed over, UTF-16 is named', () => {
  const as = { part: 'eval' };
  expect(readJson(file('\ufeff[1]'), as)).toEqual([1]);
  for (const bytes of [
    Buffer.from('\ufeff{"a": 1}', 'utf16le'),
    Buffer.from('{"a": 1}', 'utf16le'),
    Buffer.from('\ufeff[1]', 'utf16le').swap16(),
    Buffer.from('[1]', 'utf16le').swap16(),
  ]) {
    expect(isUtf16(bytes)).toBe(true);
    expect(() => readJson(file(bytes), as)).toThrow(/some\.json: expected JSON \(found UTF-16; save it as UTF-8\)/);
  }
  expect(() => readJson(file(Buffer.from([0x22, 0xe9, 0x22])), as)).toThrow(/no UTF-8/);
  expect(() => readJson(join(here, 'gone.json'), as)).toThrow(
    expect.objectContaining({ code: 'BAD_FILE', message: expect.stringContaining('gone.json') }),
  );
});

describe('lists, however they are written', () => {
  const values = (given: string) => jsonValues(given).map(({ value }) => value);
  const two = [{ a: 1 }, { a: '}{' }];
  test.each([
    JSON.stringify(two),
    JSON.stringify(two, null, 2),
    two.map((one) => JSON.stringify(one)).join('\n'),
    `\r\n${two.map((one) => JSON.stringify(one)).join('\r\n\r\n')}\r\n`,
    two.map((one) => JSON.stringify(one, null, 4)).join('\n'),
    two.map((one) => JSON.stringify(one)).join(''),
    `\ufeff${two.map((one) => JSON.stringify(one)).join(' ')}`,
  ])('%s', (given) => expect(values(given)).toEqual(two));

  test('other values than objects, and places', () => {
    expect(jsonValues('["a", NaN]')).toEqual([
      { value: 'a', where: 'record 0' },
      { value: null, where: 'record 1' },
    ]);
    expect(jsonValues('\n"a"\n[1]')).toEqual([
      { value: 'a', where: 'line 2' },
      { value: [1], where: 'line 3' },
    ]);
    expect(values('[]')).toEqual([]);
    expect(() => jsonValues('{"a": 1}\n{"a": ')).toThrow(/^line 2: expected JSON/);
    expect(() => jsonValues('[{"a": 1}')).toThrow(/expected JSON/);
    expect(() => jsonValues('{"a":\n1}\n{"a":\n x}')).toThrow(/^record 1: expected JSON/);
    expect(() => jsonValues('{"a":\n1},\n{"a":\n 2}')).toThrow(/^byte 8: found ","/);
    expect(() => jsonValues('{"a": 1},\n{"a": 2}')).toThrow(/^line 1: expected JSON/);
  });
});

describe('shapes', () => {
  const shape = objectOf<{ name: string; sizes: number[]; by: Record<string, number>; note: string | undefined }>({
    name: text,
    sizes: listOf(count),
    by: mapOf(count),
    note: optional(text),
  });
  const right = { name: 'a', sizes: [0, 1], by: { constructor: 1 } };
  test('what fits is given back, null being absent', () => {
    expect(readShaped(file(JSON.stringify({ ...right, note: null, more: 1 })), shape, { part: 'data' })).toEqual({
      ...right,
      more: 1,
    });
  });
  test.each([
    [null, 'expected an object, found null'],
    [[], 'expected an object, found []'],
    [{ ...right, name: 5 }, 'name: expected a text, found 5'],
    [{ ...right, sizes: [1, -1] }, 'sizes[1]: expected a whole number from 0, found -1'],
    [{ ...right, sizes: {} }, 'sizes: expected a list, found {}'],
    [{ ...right, by: { x: '1' } }, 'by.x: expected a whole number from 0, found "1"'],
    [{ sizes: [], by: {} }, 'name: expected a text, found nothing'],
  ])('%j', (value, message) =>
    expect(() => readShaped(file(JSON.stringify(value)), shape, { part: 'data', advice: 'do so' })).toThrow(
      `some.json: ${message}; do so`,
    ),
  );
  test('a field under the name that it had in files of earlier versions', () => {
    const renamed = objectOf<{ images: number }>({ images: count }, { images: 'pictures' });
    expect(renamed({ pictures: 3 }, '')).toMatchObject({ images: 3 });
    expect(renamed({ images: 4, pictures: 3 }, '')).toMatchObject({ images: 4 });
    expect(() => renamed({ pictures: 'x' }, 'sizes')).toThrow(
      'sizes.images: expected a whole number from 0, found "x"',
    );
  });
  test('inherited names are no fields', () => {
    const odd = objectOf<{ toString: string }>({ toString: text });
    expect(() => odd({}, '')).toThrow('toString: expected a text, found nothing');
    expect(own({ a: 1 }, 'constructor')).toBeUndefined();
    expect(own(JSON.parse('{"__proto__": 2}'), '__proto__')).toBe(2);
    expect(() => readObject(file('"text"'), { part: 'x' })).toThrow('expected a JSON object, found "text"');
  });
});
