// Emoji and CJK letters take two columns of a terminal: tables line up, lines are cut and wrapped by columns.
import { render } from 'ink-testing-library';
import stringWidth from 'string-width';
import { expect, test } from 'vitest';
import { columnsOf } from '../../cli/data/inspect/inspection.js';
import { cutEnd, cutStart, firstColumns, padEnd, padStart } from '../../cli/text/columns.js';
import { BarView } from '../../cli/ui/BarView.js';
import { Curve } from '../../cli/ui/TrainingView.js';
import { table, wrapped } from '../../cli/ui/table.js';

const FAMILY = '👨‍👩‍👧';

/** Columns before the last cell of each line. */
const before = (text: string, ends: readonly string[]): number[] =>
  text.split('\n').map((line, i) => stringWidth(line.slice(0, line.length - (ends[i] as string).length)));

test('a table with emoji and CJK lines up', () => {
  const ends = ['n', '1', '20', '300', '4'];
  const names = ['prompt', 'a cat', `${FAMILY} family`, '猫と犬', 'café'.normalize('NFD')];
  const text = table(
    [names[0] as string, 'n'],
    names.slice(1).map((name, i) => [name, ends[i + 1] as string]),
  );
  expect(text.split('\n').map((line) => stringWidth(line))).toEqual([14, 14, 14, 14, 14]);
  expect(before(text, ends)).toEqual([13, 13, 12, 11, 13]);
  expect(text.split('\n')[3]).toBe('猫と犬     300');
});

test('a right-aligned cell of wide letters ends where the others end', () => {
  const lines = table(
    ['a', 'title'],
    [
      ['x', '猫'],
      ['y', '🦊🦊'],
    ],
  ).split('\n');
  expect(lines).toEqual(['a  title', 'x     猫', 'y   🦊🦊']);
  expect(lines.map((line) => stringWidth(line))).toEqual([8, 8, 8]);
});

test('names beside their text', () => {
  const text = columnsOf([
    ['猫', 'one'],
    ['prompts', 'two'],
    [FAMILY, 'three'],
  ]);
  expect(before(text, ['one', 'two', 'three'])).toEqual([9, 9, 9]);
});

test('text of ASCII is padded and cut as its length says', () => {
  expect(
    table(
      ['name', 'n'],
      [
        ['ab', '1'],
        ['abcdef', '12'],
      ],
    ),
  ).toBe('name     n\nab       1\nabcdef  12');
  expect([padEnd('ab', 4), padStart('ab', 4), padEnd('abcde', 4)]).toEqual(['ab  ', '  ab', 'abcde']);
  expect([cutEnd('abcdef', 6), cutEnd('abcdefg', 6)]).toEqual(['abcdef', 'abcde…']);
  expect([cutStart('abcdef', 6), cutStart('abcdefg', 6)]).toEqual(['abcdef', '…cdefg']);
});

test('a letter of two columns is cut whole', () => {
  expect(firstColumns('猫犬鳥', 5)).toBe('猫犬');
  expect(firstColumns(`${FAMILY}${FAMILY}`, 3)).toBe(FAMILY);
  expect(cutEnd('猫犬鳥魚', 7)).toBe('猫犬鳥…');
  expect(cutStart('猫犬鳥魚', 6)).toBe('…鳥魚');
  expect([cutEnd('猫', 1), cutStart('猫', 1)]).toEqual(['…', '…']);
});

test('wrapped lines keep to their columns', () => {
  const lines = wrapped(Array.from({ length: 12 }, () => '猫犬鳥').join(' '), 30).split('\n');
  expect(lines.length).toBe(3);
  for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(30);
});

test('a bar and a curve with wide names keep to the width of the terminal', () => {
  const style = { color: false, width: 60, height: 24 };
  const bar = { id: 'd', label: `${'データ'.repeat(12)}/🦊.tar`, step: 2, total: 5, unit: 'step', seconds: 10 };
  const shown = render(<BarView bar={bar} style={style} />).lastFrame() ?? '';
  expect(shown).toMatch(/^….*🦊\.tar .*40 % 2\/5 · 5\.0 s\/step · 15 s left$/);
  expect(stringWidth(shown)).toBeLessThanOrEqual(60);
  const series = (name: string) => ({ name, value: 0.5, values: [0, 1, 0.5] });
  const heads = ['reward', '報酬', `${FAMILY}`].map((name) => {
    const frame = render(<Curve series={series(name)} nameWidth={8} style={style} />).lastFrame() ?? '';
    return stringWidth(frame.slice(0, frame.indexOf('0.5')));
  });
  expect(heads).toEqual([12, 12, 12]);
});
