// CONTRIBUTING's map: every equation has a file that names it, and every room is listed.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const text = readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8');

/** Cells of all rows between two headings or phrases. */
function rows(from, to) {
  const part = text.slice(text.indexOf(from), text.indexOf(to, text.indexOf(from)));
  return [...part.matchAll(/^\|(.*)\|$/gm)]
    .map(([, row]) => row.split('|').map((cell) => cell.trim()))
    .filter(([first]) => first !== '---' && !['paper', 'room'].includes(first));
}

/** Whether a text names the equation, alone or in a range such as Eq. 7-8. */
function names(source, equation) {
  return [...source.matchAll(/Eq\. (\d+)(?:[-–](\d+))?/g)].some(
    ([, first, last]) => Number(first) <= equation && equation <= Number(last ?? first),
  );
}

const paper = rows('## From the paper to the code', '## Working');

test('all twelve equations of the paper are there', () => {
  const listed = paper.flatMap(([what]) => /^Eq\. (\d+)$/.exec(what)?.[1] ?? []).map(Number);
  expect(listed).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
});

test.each(paper)('%s (%s) is in %s', (what, _, cell) => {
  const file = cell.replaceAll('`', '');
  expect(existsSync(join(root, file))).toBe(true);
  const equation = /^Eq\. (\d+)$/.exec(what)?.[1];
  if (equation !== undefined) expect(names(readFileSync(join(root, file), 'utf8'), Number(equation))).toBe(true);
});

const folders = (folder) =>
  readdirSync(join(root, folder), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort();

test.each([
  ['cli', 'The rooms of `cli`', 'The rooms of `csrc`'],
  ['csrc', 'The rooms of `csrc`', '## From the paper'],
])('every room of %s is listed', (folder, from, to) => {
  const listed = rows(from, to).map(([room]) => room.replaceAll('`', '').split('/')[0]);
  expect([...new Set(listed)].sort()).toEqual(folders(folder));
});
