// What a field of a record says, whatever its type.
import { expect, test } from 'vitest';
import { choiceIn, preferenceIn } from '../../../cli/data/sets/choice.js';
import { Fields, flagIn, numberIn, numbersIn, shareIn, UNCLEAR } from '../../../cli/data/sets/fields.js';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));
const absent = [undefined, null, Number.NaN, '', '  ', 'NaN', 'nan', 'inf', '-Infinity', Number.POSITIVE_INFINITY];
const nonsense = ['maybe', '0x10', '1,5', '1 2', '--1', {}, [], [1], Symbol.iterator];

test('numbers', () => {
  for (const [value, number] of [
    [0, 0],
    [-0.5, -0.5],
    [7n, 7],
    ['1', 1],
    [' 0.95 ', 0.95],
    ['1e-2', 0.01],
    ['-.5', -0.5],
    ['3.', 3],
    [bytes('2.5'), 2.5],
  ])
    expect(numberIn(value)).toBe(number);
  for (const value of absent) expect(numberIn(value)).toBeUndefined();
  for (const value of [...nonsense, true, false, 'true']) expect(numberIn(value)).toBe(UNCLEAR);
});

test('flags', () => {
  for (const value of [true, 1, 1n, 1.0, 'true', 'True', ' TRUE ', '1', '1.0', 'yes', bytes('true')])
    expect(flagIn(value)).toBe(true);
  for (const value of [false, 0, 0n, -0, 'false', 'False', '0', '0.0', 'no']) expect(flagIn(value)).toBe(false);
  for (const value of absent) expect(flagIn(value)).toBeUndefined();
  for (const value of [...nonsense, 2, -1, 0.5, '2', 'tie', 'none', 'null']) expect(flagIn(value)).toBe(UNCLEAR);
});

test('lists of numbers: each stated, or none means anything', () => {
  expect(numbersIn([1, '2', 3n], 3)).toEqual([1, 2, 3]);
  expect(numbersIn(null, 2)).toBeUndefined();
  for (const value of [[1], [1, null], [1, Number.NaN], [1, true], [1, ''], '12', {}])
    expect(numbersIn(value, 2)).toBe(UNCLEAR);
});

test('labels: 1, 0, anything between is a tie, no label, or no meaning', () => {
  for (const has_label of [undefined, null, true, 1, 1n, 'true', Number.NaN]) {
    for (const label_0 of [1, 1n, true, '1', '1.0', 'True', bytes('1')])
      expect(choiceIn({ label_0, has_label })).toBe(1);
    for (const label_0 of [0, 0n, false, '0', 'false']) expect(choiceIn({ label_0, has_label })).toBe(0);
    for (const label_0 of [0.5, 0.3, 1e-9, '0.5']) expect(choiceIn({ label_0, has_label })).toBe(0.5);
    for (const label_0 of absent) expect(choiceIn({ label_0, has_label })).toBeUndefined();
    for (const label_0 of ['maybe', 2, -1n, [1], {}]) expect(choiceIn({ label_0, has_label })).toBe(UNCLEAR);
  }
  for (const has_label of [false, 0, 0n, 'false', '0']) expect(choiceIn({ label_0: 1, has_label })).toBeUndefined();
  expect(choiceIn({ label_0: 1, has_label: 'perhaps' })).toBe(UNCLEAR);
});

test('HPDv2’s choices: exactly one 1 and one 0', () => {
  for (const value of [
    [1, 0],
    ['1', '0'],
    [true, false],
    [1n, 0n],
    [1.0, 0.0],
  ])
    expect(preferenceIn(value)).toEqual([0, 1]);
  expect(preferenceIn([0, 1])).toEqual([1, 0]);
  for (const value of [[1, 1], [0, 0], [0.7, 0.3], [1, null], [1, Number.NaN], [1], [1, 0, 0], []])
    expect(preferenceIn(value)).toBeUndefined();
  for (const value of [['a', 'b'], [2, 1], [[1], [0]], 1, null, undefined]) expect(preferenceIn(value)).toBe(UNCLEAR);
});

test('a record’s first field that says nothing is told', () => {
  const fields = new Fields({ tie: 'maybe', confidence: '0.9', grade: {} }, 'list, line 3');
  expect([fields.take('tie', flagIn), fields.take('confidence', numberIn), fields.take('grade', numberIn)]).toEqual([
    undefined,
    0.9,
    undefined,
  ]);
  expect(fields.take('gone', shareIn)).toBeUndefined();
  expect(fields.fault).toEqual({ reason: 'bad_record', detail: 'list, line 3: tie is "maybe"' });
});
