// `drm eval pairs --scores` on the sample sets: their accuracies, and what is said of files that do not fit.
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readJudgedList } from '../../cli/eval/judged_lists.js';
import type { Figure } from '../../cli/eval/protocols.js';
import type { ListFigures } from '../../cli/eval/score_file.js';
import { repository, runDrm, temporaryFolder } from '../run_drm.js';

const samples = process.env.DRM_SAMPLES ?? join(repository, 'test/samples');
const scoreFile = join(samples, 'EVAL.json');
const expected = JSON.parse(readFileSync(scoreFile, 'utf8'));

async function evaluate(...args: string[]) {
  const { code, stdout, stderr } = await runDrm(['eval', 'pairs', ...args, '--json']);
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const lists: ListFigures[] = events.find(({ event }) => event === 'result')?.data.lists ?? [];
  const figure = (list: string, protocol: string) =>
    lists.find((one) => one.list === list)?.figures.find((one) => one.protocol === protocol) as Figure;
  return { code, stderr, events, lists, figure };
}

describe('drm eval pairs --scores', () => {
  test('gives the accuracies of the sample sets', async () => {
    const { code, figure } = await evaluate('--scores', scoreFile);
    expect(code).toBe(0);
    const three = expected.hpdv3_test;
    expect(figure('hpdv3_test', 'strict')).toMatchObject({
      correct: three.correct,
      of: three.pairs_scored,
      failed: three.pairs_failed,
      equal: three.equal,
    });
    expect(figure('hpdv3_test', 'strict').accuracy.mean).toBeCloseTo(three.accuracy, 6);
    const two = expected.hpdv2_test;
    expect(figure('hpdv2_test', 'rank').accuracy.mean).toBeCloseTo(two.macro_inversion, 6);
    expect(figure('hpdv2_test', 'rank').of).toBe(two.groups_scored);
    expect(figure('hpdv2_test', 'pooled')).toMatchObject({ correct: two.pooled_correct, of: two.pooled_pairs });
    const reward = expected.imagereward_test;
    expect(figure('imagereward_test', 'pooled')).toMatchObject({ correct: reward.correct, of: reward.pairs });
    const pick = expected.pickapic_test_unique;
    expect(figure('pickapic_test_unique', 'strict')).toMatchObject({
      correct: pick.strict_correct,
      of: pick.strict_pairs,
    });
    const aware = figure('pickapic_test_unique', 'tie-aware');
    expect(aware.threshold).toBe(pick.tie_threshold_from_validation);
    expect(aware.accuracy.mean).toBeCloseTo(pick.tie_aware_accuracy, 6);
  });

  test('prints them within 80 columns, each protocol explained', async () => {
    const { code, stdout } = await runDrm(['eval', 'pairs', '--scores', scoreFile, '--quiet']);
    expect(code).toBe(0);
    const lines = stdout.split('\n');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(stdout).toMatch(/hpdv2_test +rank +93\.33/);
    for (const name of ['strict', 'rank', 'pooled', 'mean-over-prompts', 'tie-aware'])
      expect(lines.filter((line) => line.startsWith(`${name}: `))).toHaveLength(1);
  });

  test('takes a table alone with its list, and null for what has no score', async () => {
    const file = join(temporaryFolder(), 'scores.json');
    const scores = [
      [1, 0],
      [1, 0],
      [null, 0],
      [0, 1],
      [1, 0],
      [1, 0],
    ];
    writeFileSync(file, JSON.stringify(scores));
    const list = join(samples, 'hpdv3/test.json');
    const { code, lists } = await evaluate('--scores', file, '--from', list, '--no-pictures');
    expect(code).toBe(0);
    expect(lists[0]?.figures).toMatchObject([{ protocol: 'strict', correct: 4, of: 5, failed: 1 }]);
  });

  test('counts as it is told', async () => {
    const { code, lists } = await evaluate('--scores', scoreFile, '--protocol', 'mean-over-prompts');
    expect(code).toBe(0);
    expect(lists.flatMap(({ list, figures }) => figures.map(({ protocol }) => [list, protocol]))).toEqual([
      ['hpdv2_test', 'mean-over-prompts'],
      ['imagereward_test', 'mean-over-prompts'],
    ]);
  });

  test('looks into archives and folders alike, and says where there are no images', async () => {
    const folder = temporaryFolder();
    cpSync(join(samples, 'imagerewarddb/test.json'), join(folder, 'test.json'));
    const file = join(folder, 'scores.json');
    writeFileSync(file, JSON.stringify({ imagereward_test: expected.imagereward_test }));
    const bare = await evaluate('--scores', file);
    expect(bare.figure('imagereward_test', 'pooled').failed).toBe(0);
    expect(bare.events.find(({ event }) => event === 'warning').message).toContain('are not beside');
    cpSync(join(samples, 'imagerewarddb/images'), join(folder, 'images'), { recursive: true });
    const zipped = await evaluate('--scores', file);
    expect(zipped.figure('imagereward_test', 'pooled').of).toBe(expected.imagereward_test.pairs);
    expect(zipped.figure('imagereward_test', 'pooled').failed).toBeGreaterThan(0);
    rmSync(join(folder, 'images/test/test_1.zip'));
    expect((await evaluate('--scores', file)).figure('imagereward_test', 'pooled').failed).toBe(0);
  });

  const table = [[1, 0]];
  test.each([
    ['{', 3, 'expected JSON'],
    [{ hpdv4_test: table }, 3, '"hpdv4_test"'],
    [{ hpdv3_test: table }, 3, 'expected 6 rows of scores, found 1'],
    [{ hpdv3_test: Array(6).fill([1, 2, 3]) }, 3, 'row 0: expected 2 scores, found 3'],
    [{ hpdv3_test: Array(6).fill(['1', 2]) }, 3, 'row 0: expected numbers or null'],
    [{ hpdv3_validation: table }, 3, 'expected the validation list of hpdv3'],
    [table, 2, 'give --from LIST.json'],
    [{}, 3, 'at least one table'],
  ])('refuses %j', async (content, code, part) => {
    const file = join(temporaryFolder(), 'scores.json');
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
    const from = Array.isArray(content) ? [] : ['--from', samples];
    const found = await runDrm(['eval', 'pairs', '--scores', file, ...from]);
    expect(found.stderr).toContain(part);
    expect(found.code).toBe(code);
  });

  test.each([
    [[1, 2], 'a list of HPDv3, HPDv2 or ImageReward'],
    [[{ prompt: 'a', path1: 'x', path2: 3 }], 'record 0'],
    [[], 'at least one record'],
  ])('refuses the list %j', (list, part) => {
    const file = join(temporaryFolder(), 'list.json');
    writeFileSync(file, JSON.stringify(list));
    expect(() => readJudgedList([file])).toThrow(
      expect.objectContaining({ code: 'BAD_FILE', message: expect.stringContaining(part) }),
    );
  });

  test('knows its protocols by name', async () => {
    const found = await runDrm(['eval', 'pairs', '--scores', scoreFile, '--protocol', 'poold']);
    expect(found.code).toBe(2);
    expect(found.stderr).toContain('did you mean pooled?');
  });
});
