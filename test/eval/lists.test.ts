// Lists and score tables as other programs write them: what they say counts, what they do not say is no preference.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readJudgedList } from '../../cli/eval/judged_lists.js';
import { DEFINITIONS, rankAgreement } from '../../cli/eval/protocols.js';
import { judgeScores, readScores } from '../../cli/eval/score_file.js';
import { temporaryFolder } from '../run_drm.js';

const here = temporaryFolder();
const file = (name: string, content: unknown): string => {
  writeFileSync(join(here, name), typeof content === 'string' ? content : JSON.stringify(content));
  return join(here, name);
};
const ranksOf = async (content: unknown) =>
  (await readJudgedList([file('list.json', content)])).records.map((record) => 'ranks' in record && record.ranks);

test('ranks and preferences by their value, in every form of a list', async () => {
  const rankings = [
    { prompt: 'p', image_path: ['a', 'b', 'c'], rank: ['2', 1, 3.5] },
    { prompt: 'q', image_path: ['a'], rank: [1] },
  ];
  for (const content of [
    rankings,
    `\ufeff${JSON.stringify(rankings, null, 2)}`,
    rankings.map((one) => JSON.stringify(one)).join('\n'),
  ])
    expect(await ranksOf(content)).toEqual([[2, 1, 3.5], [1]]);
  const choices = [
    [1, 0],
    ['0', '1'],
    [true, false],
    [1, 1],
    [0.7, 0.3],
  ];
  const list = choices.map((human_preference) => ({ prompt: 'p', human_preference, file_path: ['a', 'b'] }));
  expect(await ranksOf(list)).toEqual([
    [1, 2],
    [2, 1],
    [1, 2],
    [1, 1],
    [1, 1],
  ]);
});

test.each([
  ['rank', [1, null]],
  ['rank', [1, '']],
  ['rank', [true, false]],
  ['rank', ['a', 'b']],
  ['rank', [1]],
  ['human_preference', ['yes?', 'no']],
  ['human_preference', 0],
])('%s of %j is no order', (key, value) => {
  const record = { prompt: 'p', [key]: value, [key === 'rank' ? 'image_path' : 'file_path']: ['a', 'b'] };
  for (const content of [[record], JSON.stringify([record]).replace('null', 'NaN')])
    expect(() => readJudgedList([file('bad.json', content)])).toThrow(
      expect.objectContaining({ code: 'BAD_FILE', message: expect.stringContaining('record 0') }),
    );
});

test('scores: NaN and null are none, a mark is passed over, null tables are absent', async () => {
  const list = file(
    'test.json',
    [0, 1, 2].map((i) => ({ prompt: `p${i}`, path1: 'a', path2: 'b' })),
  );
  for (const content of [
    '\ufeff[[1, 0], [NaN, 0], [0, -Infinity]]',
    '{"scores": [[1, 0], [null, 0], [0, Infinity]]}',
  ]) {
    const [entry] = readScores(file('scores.json', content), list);
    const { figures } = await judgeScores(entry as NonNullable<typeof entry>, {});
    expect(figures).toMatchObject([{ correct: 1, of: 1, failed: 2 }]);
  }
  const [entry] = readScores(
    file('scores.json', { scores: null, hpdv3_test: { scores: [[1, 0]], scores_validation: null } }),
    here,
  );
  expect(entry?.validation).toBeUndefined();
});

test('HPDv2 counts ties in the divisor; an image that failed takes its own pairs alone, which is said', () => {
  // Of 4 images, 6 pairs: one tie of people, one inversion.
  expect(rankAgreement([{ ranks: [1, 2, 2, 3], scores: [3, 4, 2, 1] }])).toMatchObject({
    accuracy: { mean: 1 - 1 / 6 },
    of: 1,
  });
  expect(rankAgreement([{ ranks: [1, 2, 2, 3], scores: [3, undefined, 2, 1] }])).toMatchObject({
    accuracy: { mean: 1 },
    failed: 3,
  });
  expect(DEFINITIONS.rank).toContain('HPSv2');
});
