// `drm eval pairs` as a user runs it, on a small set of pairs with random rewards.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { accuracyPlot } from '../../cli/eval/accuracy_plot.js';
import { findImageReward } from '../../cli/rewards/registry.js';
import { scoreImages } from '../../cli/rewards/reward.js';
import { writeClip } from '../rewards/clip_folder.js';
import { writeDrm } from '../rewards/drm_folder.js';
import { runDrm, temporaryFolder } from '../run_drm.js';
import { image, type PairRow as Row, rows, writePairs } from './small_pairs.js';

async function world(all?: readonly Row[]) {
  const folder = temporaryFolder();
  return {
    data: await writePairs(join(folder, 'pairs'), all),
    reward: `clip:${writeClip(join(folder, 'one'), 1)}`,
    other: `clip:${writeClip(join(folder, 'two'), 2)}`,
    out: join(folder, 'out'),
  };
}
type World = Awaited<ReturnType<typeof world>>;

async function run({ data, reward, out }: World, ...more: string[]) {
  const args = ['eval', 'pairs', '--data', data, '--reward', reward, '--out', out, '--threads', '1', '--json', ...more];
  const { code, stdout, stderr } = await runDrm(args);
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const result = events.find(({ event }) => event === 'result');
  return { code, stderr, events, data: result?.data, text: result?.text as string };
}

const logs = (out: string) => readdirSync(out).filter((name) => name.endsWith('.jsonl'));
const readLog = (out: string) =>
  readFileSync(join(out, logs(out)[0] as string), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('drm eval pairs --data', () => {
  test('counts what the reward itself says of every image', async () => {
    const w = await world();
    const { code, data, stderr } = await run(w);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const reward = await findImageReward(w.reward).load({ device: 'cpu' });
    const right = async ({ chosen, rejected, prompt }: Row) => {
      const [a = 0, b = 0] = await scoreImages(reward, [image(chosen), image(rejected)], [prompt, prompt]);
      return Number(a > b);
    };
    const sum = async (some: Row[]) => (await Promise.all(some.map(right))).reduce((x, y) => x + y, 0);
    const decided = rows.filter(({ tie }) => !tie);
    const [row] = data.rows;
    expect(row.overall).toMatchObject({ correct: await sum(decided), of: 17, tied: 1, failed: 0, protocol: 'strict' });
    expect(row.viewing).toContain('no noise');
    for (const source of ['graded', 'hpdv2'])
      expect(row.by.source[source].correct).toBe(await sum(decided.filter((one) => one.source === source)));
    expect(Object.keys(row.by.kind)).toEqual(['blur', 'noise']);
    expect(row.by.grade['grade 2'].correct).toBe(await sum(decided.filter(({ grade }) => grade === 2)));
    expect(row.by['kind and grade']['blur, grade 1'].of).toBe(2);
    // Four images, six pairs, the pair of equals in the divisor alone.
    const wrong = 5 - (await sum(decided.filter(({ source }) => source === 'hpdv2')));
    expect(row.own.hpdv2[0]).toMatchObject({ protocol: 'rank', of: 1 });
    expect(row.own.hpdv2[0].accuracy.mean).toBeCloseTo(1 - wrong / 6, 12);
    expect(row.own.hpdv2[1]).toMatchObject({ protocol: 'pooled', correct: 5 - wrong, of: 5 });
    reward.dispose();
  });

  test('scores an image once a prompt, and none that an earlier run has scored', async () => {
    const w = await world();
    const first = await run(w);
    const distinct = new Set(
      rows.flatMap(({ source, prompt, chosen, rejected }) => [chosen, rejected].map((i) => `${source} ${prompt} ${i}`)),
    );
    expect(first.data.images).toBe(distinct.size);
    const before = readLog(w.out);
    expect(before).toHaveLength(1 + distinct.size);
    expect(before[0]).toMatchObject({ reward: w.reward, draws: 1 });

    const again = await run(w);
    expect(again.data).toEqual(first.data);
    expect(readLog(w.out)).toEqual(before);

    // A line that a killed process left half written is cut, and its score made again.
    const file = join(w.out, logs(w.out)[0] as string);
    const whole = readFileSync(file, 'utf8');
    writeFileSync(file, whole.slice(0, -20));
    expect((await run(w)).data).toEqual(first.data);
    const mended = readLog(w.out);
    expect(mended.slice(0, -1)).toEqual(before.slice(0, -1));
    expect(mended.at(-1)).toMatchObject({ key: before.at(-1).key, score: expect.closeTo(before.at(-1).score, 6) });
    writeFileSync(file, whole.replace('"score":', '"score"'));
    const broken = await run(w);
    expect(broken.code).toBe(3);
    expect(broken.stderr).toContain('line 2: expected a score');
  });

  test('puts rewards side by side, and compares them on the same pairs', async () => {
    const w = await world();
    const { code, data, text } = await run(w, '--reward', w.other);
    expect(code).toBe(0);
    const [one, two] = data.rows;
    expect(two.reward).toBe(w.other);
    expect(one.ahead_of_first).toBeUndefined();
    expect(two.ahead_of_first.mean).toBeCloseTo(two.overall.accuracy.mean - one.overall.accuracy.mean, 12);
    expect(logs(w.out)).toHaveLength(2);
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    expect(text).toContain('by kind');
    expect(text).toContain('strict: score(preferred)');
  });

  test('looks at noisy latents through a reward model, beside a scorer that cannot, and draws it', async () => {
    const w = await world(rows.slice(0, 6));
    const drm = await writeDrm(join(w.out, '..', 'drm'));
    const { code, data, events, text } = await run(w, '--reward', drm, '--timesteps', '0,500,900', '--draws', '2');
    expect(code).toBe(0);
    expect(
      data.rows.map(({ reward, timestep }: Row & { timestep: number; reward: string }) => [reward, timestep]),
    ).toEqual([[w.reward, 0], ...[0, 500, 900].map((timestep) => [drm, timestep])]);
    expect(events.find(({ event }) => event === 'warning').message).toContain('clean images only');
    expect(data.rows[2].viewing).toContain('noise of level 0.5 added');
    expect(data.rows[2].viewing).toContain('mean of 2 draws');
    const scores = (timestep: number) =>
      logs(w.out)
        .flatMap((name) => readFileSync(join(w.out, name), 'utf8').trim().split('\n').slice(1))
        .map((line) => JSON.parse(line))
        .filter((line) => line.timestep === timestep)
        .map(({ score }) => score);
    expect(scores(500)).toHaveLength(data.images);
    expect(new Set([...scores(500), ...scores(900)]).size).toBeGreaterThan(data.images);
    expect(text).toMatch(/reward +t = 0 +t = 500 +t = 900/);
    const svg = readFileSync(join(w.out, 'accuracy.svg'), 'utf8');
    expect(svg.match(/<circle/g)).toHaveLength(4);
  });

  test('takes part of the pairs, the same for the same seed', async () => {
    const w = await world();
    const one = await run(w, '--max-pairs', '6');
    const two = await run(w, '--max-pairs', '6');
    expect(one.data.pairs).toBe(6);
    expect(two.data).toEqual(one.data);
    expect(one.data.rows[0].overall.of).toBeLessThanOrEqual(6);
  });

  test('says how to go on when it is stopped, and goes on', async () => {
    const many = Array.from(
      { length: 400 },
      (_, i): Row => ({
        ...{ prompt: `prompt ${i % 50}`, chosen: i, rejected: i + 1, source: 'many' },
      }),
    );
    const w = await world(many);
    const args = ['eval', 'pairs', '--data', w.data, '--reward', w.reward, '--out', w.out, '--threads', '1', '--json'];
    const stopped = await runDrm(args, { onOutput: { when: '"step":32', act: (kill) => kill('SIGINT') } });
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toContain(`go on with: drm ${args.join(' ')}`);
    const kept = readLog(w.out);
    expect(kept.length).toBeGreaterThan(32);
    expect(kept.length).toBeLessThan(801);
    const done = await run(w);
    expect(done.code).toBe(0);
    expect(readLog(w.out).slice(0, kept.length)).toEqual(kept);
    expect(new Set(readLog(w.out).map(({ key }) => key)).size).toBe(readLog(w.out).length);
    const fresh = await run({ ...w, out: `${w.out}-fresh` });
    expect(done.data).toEqual(fresh.data);
  });

  test('names an image that cannot be read, and leaves out its pairs', async () => {
    const w = await world();
    const shard = join(w.data, readdirSync(w.data).find((name) => name.endsWith('.tar')) as string);
    const bytes = readFileSync(shard);
    const at = bytes.indexOf('RIFF'); // the first image, which is image 0
    bytes.fill(0, at + 12, at + 40);
    writeFileSync(shard, bytes);
    const { code, data, events } = await run(w);
    expect(code).toBe(0);
    expect(events.find(({ event }) => event === 'warning').message).toContain('image 0: undecodable_image');
    const failed = rows.filter(
      ({ source, chosen, rejected, tie }) => source === 'graded' && !tie && chosen * rejected === 0,
    ).length;
    expect(data.rows[0].overall).toMatchObject({ failed, of: 17 - failed });
    expect(data.bad_images).toBe(1);
  });

  test.each([
    [['--timesteps', '0,1001'], 2, '--timesteps 0,1001'],
    [['--timesteps', '500'], 2, 'let 0 be among them'],
    [['--reward', 'jugde'], 2, 'did you mean judge?'],
    [['--draws', '0'], 2, '--draws'],
    [['--max-pairs', '0'], 2, '--max-pairs'],
    [['--split', 'train'], 3, 'expected split train, found test'],
  ])('refuses %j', async (more, code, part) => {
    const found = await run(await world(), ...more);
    expect(found.stderr).toContain(part);
    expect(found.code).toBe(code);
  });

  test('wants pairs and a reward', async () => {
    expect((await runDrm(['eval', 'pairs', '--reward', 'judge'])).stderr).toContain('give --data DIR');
    const w = await world();
    expect((await runDrm(['eval', 'pairs', '--data', w.data])).stderr).toContain('expected a reward');
  });
});

test('a plot has a line and a band for each reward, and holds any name', () => {
  const estimate = (mean: number) => ({ mean, low: mean - 0.05, high: mean + 0.05, n: 9 });
  const points = [0, 500, 750].map((timestep) => ({ timestep, accuracy: estimate(0.9 - timestep / 2500) }));
  const svg = accuracyPlot(
    [
      { name: 'a<b & "c"', points },
      { name: 'clip', points: points.slice(0, 1) },
    ],
    'Title',
  );
  expect(svg.match(/<path [^>]*fill="none"/g)).toHaveLength(1);
  expect(svg.match(/<path [^>]*fill-opacity/g)).toHaveLength(1);
  expect(svg.match(/<circle/g)).toHaveLength(4);
  expect(svg).toContain('a&#60;b &#38; &#34;c&#34;');
  const ys = [...svg.matchAll(/cy="([\d.]+)"/g)].map(([, y]) => Number(y));
  expect(ys[0]).toBeLessThan(ys[1] as number); // higher accuracy stands higher
});
