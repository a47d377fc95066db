// `drm eval pairs` beside the paper and its peers: readings of a timestep, named protocols, sizes, several sets, processes.
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { command as evaluate } from '../../cli/commands/eval.js';
import { command as score } from '../../cli/commands/score.js';
import { bestThreshold, type ScoredChoice, tieAware } from '../../cli/eval/protocols.js';
import { findImageReward } from '../../cli/rewards/registry.js';
import { scoreImages } from '../../cli/rewards/reward.js';
import { refusedHere, runHere } from '../e2e/here.js';
import { writeClip } from '../rewards/clip_folder.js';
import { writeDrm } from '../rewards/drm_folder.js';
import { runDrm, temporaryFolder } from '../run_drm.js';
import { image, type PairRow, rows, writePairs } from './small_pairs.js';

const work = temporaryFolder();
const path = (name: string) => join(work, name);
let outs = 0;
const fresh = () => path(`out-${outs++}`);
const drm = path('drm');
const clip = `clip:${path('clip')}`;
const few = rows.slice(0, 6);

/** Decided pairs and ties of three splits, as a set of Pick-a-Pic has them. */
const choices: PairRow[] = Array.from({ length: 24 }, (_, i) => ({
  ...{ prompt: `prompt ${i % 5}`, chosen: i % 9, rejected: (i * 5 + 3) % 12, source: 'pickapic' },
  split: ['train', 'validation_unique', 'test_unique'][i % 3] as string,
  ...(i % 4 === 0 && { tie: true as const }),
}));

beforeAll(async () => {
  await writeDrm(drm);
  writeClip(path('clip'), 1);
  await writePairs(path('few'), few);
  await writePairs(path('ranked'), rows);
  await writePairs(path('choices'), choices, { source: 'pickapic', ties: true });
}, 120_000);

type Result = Record<string, never> & { rows: Row[]; sets: { data: string; rows: Row[] }[] };
interface Row {
  reward: string;
  timestep: number;
  sigma: number;
  entry?: number;
  protocol?: string;
  viewing: string;
  overall: { correct: number; of: number };
  own: Record<string, { protocol: string; accuracy: { mean: number }; threshold?: number }[]>;
}

/** The events of `drm eval pairs` here, and what they say in the end. */
async function pairs(...args: string[]) {
  const out = fresh();
  const events = await runHere(evaluate, ['pairs', '--out', out, '--dtype', 'fp32', ...args]);
  const result = events.find(({ event }) => event === 'result') as { data: Result; text: string };
  const warnings = events.flatMap((event) => (event.event === 'warning' ? [event.message] : []));
  return { out, events, warnings, data: result.data, text: result.text };
}

const linesIn = (out: string) =>
  readdirSync(out)
    .filter((name) => name.endsWith('.jsonl'))
    .flatMap((name) => readFileSync(join(out, name), 'utf8').trim().split('\n').slice(1))
    .map((line) => JSON.parse(line) as { key: string; timestep: number; score: number });
const scoresIn = (out: string) => new Map(linesIn(out).map(({ key, timestep, score: s }) => [`${key} ${timestep}`, s]));

function expectSame(one: Map<string, number>, other: Map<string, number>): void {
  expect([...other.keys()].sort()).toEqual([...one.keys()].sort());
  for (const [key, value] of one) expect(other.get(key)).toBeCloseTo(value, 4);
}

describe('timesteps', { timeout: 120_000 }, () => {
  test("are entries of the model's own scheduler where that is asked for: 500 is 750, 750 is 900", async () => {
    const data = ['--data', path('few'), '--reward', drm];
    const entries = await pairs(...data, '--timesteps', 'schedule:0,500,750');
    const levels = await pairs(...data, '--timesteps', '0,750,900');
    const of = ({ data: { rows: all } }: typeof levels) => all.map(({ timestep, sigma }) => [timestep, sigma]);
    expect(of(entries)).toEqual([
      [0, 0],
      [750, 0.75],
      [900, 0.9],
    ]);
    expect(of(levels)).toEqual(of(entries));
    expectSame(scoresIn(levels.out), scoresIn(entries.out));
    expect(entries.data.rows.map(({ entry }) => entry)).toEqual([0, 500, 750]);
    expect(levels.data.rows.every((row) => !('entry' in row))).toBe(true);
    // σ stands beside every timestep: in tables, words, plot and progress.
    expect(entries.text).toMatch(/t = 0 +t = 750 +t = 900\n +σ 0 +σ 0\.75 +σ 0\.9\n/);
    expect(entries.text.replaceAll(/\s+/g, ' ')).toContain('timestep 900 (σ 0.9, entry 750 of the schedule)');
    expect(readFileSync(join(entries.out, 'accuracy.svg'), 'utf8')).toMatch(/>900<.*\n.*>σ 0\.9</);
    expect(JSON.stringify(entries.events)).toContain('t 750 (σ 0.75)');
    for (const line of entries.text.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  });

  test('of the authors: their reading, no noise, the posterior sampled', async () => {
    const data = ['--data', path('few'), '--reward', drm];
    const authors = await pairs(...data, '--protocol', 'drm-authors', '--timesteps', '0,500');
    const [clean, half] = authors.data.rows as [Row, Row];
    expect(half).toMatchObject({ timestep: 750, sigma: 0.75, entry: 500, protocol: 'drm-authors' });
    expect(half.viewing).toContain("drawn from the VAE's posterior (seed 0), no noise added, network conditioned on");
    expect(clean.viewing).toContain('timestep 0 (σ 0)');
    expect(authors.text).toContain('scored by the protocol drm-authors');
    expect(authors.text.replaceAll(/\s+/g, ' ')).toContain("drm-authors: as the authors' script scores");
    // Nothing but the posterior is drawn: with noise the scores are others, at timestep 0 the same.
    const noisy = await pairs(...data, '--posterior-sample', '--timesteps', 'schedule:0,500');
    const [a, b] = [scoresIn(authors.out), scoresIn(noisy.out)];
    for (const [key, value] of a)
      if (key.endsWith(' 0')) expect(b.get(key)).toBeCloseTo(value, 4);
      else expect(Math.abs((b.get(key) as number) - value)).toBeGreaterThan(1e-5);
    // One folder holds both, in files of their own.
    const again = await runHere(evaluate, ['pairs', '--out', noisy.out, ...data, '--protocol', 'drm-authors']);
    expect(again.at(-1)?.event).toBe('done');
    expect(readdirSync(noisy.out).filter((name) => name.endsWith('.jsonl'))).toHaveLength(2);
  });

  test('of `drm score` are read likewise', async () => {
    const { default: sharp } = await import('sharp');
    const file = path('a.png');
    const { pixels, width, height } = image(3);
    await sharp(pixels, { raw: { width, height, channels: 3 } })
      .png()
      .toFile(file);
    const run = async (...args: string[]) => {
      const events = await runHere(score, ['--reward', drm, '--prompt', 'a red fox', ...args, file]);
      const { data, text } = events.find(({ event }) => event === 'result') as never as {
        data: { scores: { score: number }[]; definitions: Record<string, unknown>[] };
        text: string;
      };
      return { score: data.scores[0]?.score as number, definition: data.definitions[0], text };
    };
    const entry = await run('--timestep', 'schedule:500');
    const level = await run('--timestep', '750');
    expect(entry.score).toBeCloseTo(level.score, 5);
    expect(entry.definition).toMatchObject({ timestep: 750, sigma: 0.75 });
    expect(level.text).toContain('σ 0.75');
    const authors = await run('--timestep', '500', '--protocol', 'drm-authors');
    expect(authors.definition).toMatchObject({ timestep: 750, protocol: 'drm-authors' });
    const [small, own, same] = [await run('--size', '16'), await run(), await run('--size', '32')];
    expect(Math.abs(small.score - own.score)).toBeGreaterThan(1e-6);
    expect(same.score).toBeCloseTo(own.score, 6);
    expect(small.text).toContain('16 x 16');
    await refusedHere(score, ['--reward', drm, '--prompt', 'x', '--size', '20', file], 3, ['multiple of 16', '20']);
    await refusedHere(score, ['--reward', clip, '--prompt', 'x', '--size', '32', file], 2, ['expected a reward model']);
    await refusedHere(score, ['--reward', drm, '--prompt', 'x', '--timestep', '0,500', file], 2, ['expected one']);
  });

  test.each([
    [['--timesteps', 'schedule:0.5'], 2, /schedule:0,500,750/],
    [['--protocol', 'drm-authors', '--timesteps', 'sigma:500'], 2, /expected entries of the scheduler's table/],
    [['--protocol', 'drm-author'], 2, /did you mean drm-authors\?/],
    [['--size', '17'], 3, /multiple of 16/],
    [['--size', '0'], 2, /--size/],
  ])('refuses %j', (more, code, words) =>
    refusedHere(evaluate, ['pairs', '--data', path('few'), '--reward', drm, '--out', fresh(), ...more], code, [words]),
  );
});

test('the size that reward models see is asked for, and scores of another are kept apart', async () => {
  const data = ['--data', path('few'), '--reward', drm, '--reward', clip];
  const own = await pairs(...data);
  const small = await pairs(...data, '--size', '16');
  const copies = path('copies');
  await writePairs(copies, few, { size: 16 });
  const [enlarged] = (await pairs('--data', copies, '--reward', drm)).warnings;
  expect(enlarged).toMatch(/copies was prepared with images of at most 16 pixels a side, and they are scored at 32/);
  expect((await pairs('--data', copies, '--reward', drm, '--size', '16')).warnings).toEqual([]);
  expect(small.warnings).toEqual([`${clip} sees images at its own size; --size is for reward models`]);
  expect(small.data.rows[0]?.viewing).toContain('images at 16 x 16');
  expect(own.data.rows[0]?.viewing).toContain('images at 32 x 32');
  expect(scoresIn(small.out)).not.toEqual(scoresIn(own.out));
  await runHere(evaluate, ['pairs', '--out', own.out, ...data, '--size', '16']);
  expect(readdirSync(own.out).filter((name) => name.endsWith('.jsonl'))).toHaveLength(3);
}, 120_000);

describe('protocols of counting', { timeout: 120_000 }, () => {
  const set = ['--data', path('choices'), '--reward', clip];
  /** Choices of a split as logits, by the reward itself. */
  async function logits(split: string): Promise<ScoredChoice[]> {
    const reward = await findImageReward(clip).load({ device: 'cpu' });
    const scale = reward.scale as number;
    expect(scale).toBeGreaterThan(1);
    const found: ScoredChoice[] = [];
    for (const { prompt, chosen, rejected, tie } of choices.filter((one) => one.split === split)) {
      const [a = 0, b = 0] = await scoreImages(reward, [image(chosen), image(rejected)], [prompt, prompt]);
      found.push({ label: tie ? 0.5 : 1, scores: [scale * a, scale * b], group: prompt });
    }
    reward.dispose();
    return found;
  }

  test('tie-aware: the threshold is that of the validation split, the ties are counted', async () => {
    const threshold = bestThreshold(await logits('validation_unique'));
    const expected = tieAware(await logits('test_unique'), threshold);
    const found = await pairs(...set, '--split', 'test_unique', '--protocol', 'tie-aware');
    const figure = found.data.rows[0]?.own.pickapic?.[0];
    expect(figure).toMatchObject({ protocol: 'tie-aware', threshold, of: 8, correct: expected.correct });
    expect(found.text).toMatch(new RegExp(`pickapic +tie-aware .*ties <= ${threshold}`));
    // The threshold may come from a set of its own.
    const folder = path('validation-alone');
    await writePairs(
      folder,
      choices.filter(({ split }) => split === 'validation_unique'),
      { ties: true },
    );
    const more = ['--split', 'test_unique', '--protocol', 'tie-aware', '--validation'];
    expect((await pairs(...set, ...more, folder)).data.rows).toEqual(found.data.rows);
    expect((await pairs(...set, ...more, `${folder}:validation_unique`)).data.rows).toEqual(found.data.rows);
  });

  test.each([
    ['choices', ['--protocol', 'tie-aware'], /expected one that is judged; give --split/],
    ['choices', ['--protocol', 'tie-aware', '--split', 'train'], /has no split but the judged one/],
    [
      'choices',
      ['--protocol', 'tie-aware', '--split', 'test_unique', '--validation', 'few:test'],
      /few was prepared without its ties/,
    ],
    ['few', ['--protocol', 'tie-aware', '--split', 'test'], /prepared without its ties.*--keep-ties/],
    ['few', ['--protocol', 'rank'], /counts rankings.*few holds pairs alone/],
    ['few', ['--protocol', 'strict', '--protocol', 'mean-over-prompts'], /counts rankings/],
    ['few', ['--validation', 'few'], /expected --protocol tie-aware beside it/],
    ['few', ['--from', 'few'], /--from is for --scores/],
    ['few', ['--no-pictures'], /--no-images is for --scores/],
  ])('of %s with %j are refused with a sentence', (data, more, words) =>
    refusedHere(
      evaluate,
      [
        'pairs',
        '--data',
        path(data),
        '--reward',
        clip,
        '--out',
        fresh(),
        ...more.map((one) => one.replace(/^few/, path('few'))),
      ],
      2,
      [words],
    ),
  );

  test('beside --scores: what would be passed over is refused', async () => {
    const list = path('list.json');
    const file = path('scores.json');
    writeFileSync(list, JSON.stringify([{ prompt: 'a', path1: 'a.jpg', path2: 'b.jpg' }]));
    writeFileSync(file, '[[1, 0]]');
    const given = ['pairs', '--scores', file, '--from', list];
    for (const [more, words] of [
      [['--data', path('few')], /found --scores and --data/],
      [['--reward', clip], /found --scores and --reward/],
      [['--protocol', 'drm-authors'], /has their scores already/],
      [['--protocol', 'strict', '--protocol', 'rank'], /--protocol rank: fits none/],
      [['--protocol', 'tie-aware'], /tie-aware needs scores_validation/],
    ] as const)
      await refusedHere(evaluate, [...given, ...more], 2, [words]);
  });
});

test('several sets make one table, each by its own protocol and with its own rows', async () => {
  const some = ['--data', path('few'), '--data', path('ranked'), '--reward', drm, '--reward', clip];
  const { data, text, warnings } = await pairs(...some, '--protocol', 'rank');
  expect(data.sets.map((set) => set.data)).toEqual([path('few'), path('ranked')]);
  expect(warnings).toEqual([expect.stringMatching(/counts rankings.*few holds pairs alone: left out there/)]);
  const alone = await pairs('--data', path('ranked'), '--reward', drm, '--reward', clip, '--protocol', 'rank');
  expect(data.sets[1]?.rows).toEqual(alone.data.rows);
  const [head = '', protocols = '', first = ''] = text.split('\n').slice(1);
  expect(head).toMatch(/^reward +t +σ +few +ranked$/);
  expect(protocols).toMatch(/^ +strict +strict$/); // two sources in it: no one protocol is that of all
  expect(first.trim().split(/\s{2,}/)).toHaveLength(5);
  for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  await refusedHere(evaluate, ['pairs', ...some, '--split', 'test_unique', '--out', fresh()], 3, [
    'few: expected split test_unique, found test',
  ]);
}, 120_000);

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

describe('several processes', { timeout: 240_000 }, () => {
  const many: PairRow[] = Array.from({ length: 150 }, (_, i) => ({
    ...{ prompt: `prompt ${i % 20}`, chosen: i, rejected: i + 1, source: 'many' },
  }));
  const command = (out: string, ...more: string[]) => [
    ...['eval', 'pairs', '--data', path('many'), '--reward', drm, '--timesteps', '0,500', '--out', out],
    ...['--dtype', 'fp32', '--threads', '1', '--json', ...more],
  ];
  const resultOf = (stdout: string) =>
    stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line))
      .find(({ event }) => event === 'result')?.data;

  test('have the scores of one, each made once, and go on from what any number of them made', async () => {
    await writePairs(path('many'), many);
    const [one, two] = [fresh(), fresh()];
    await runHere(evaluate, command(one).slice(1));
    const shared = await runDrm(command(two, '--nproc', '2'));
    expect(shared.code, shared.stderr).toBe(0);
    expectSame(scoresIn(one), scoresIn(two));
    expect(linesIn(two)).toHaveLength(linesIn(one).length);
    expect(readdirSync(two).sort()).toEqual(readdirSync(one).sort());
    expect(resultOf(shared.stdout).rows.length).toBe(2);

    // Half of the file, and the rest by two.
    const file = join(one, readdirSync(one).find((name) => name.endsWith('.jsonl')) as string);
    const lines = readFileSync(file, 'utf8').split('\n');
    writeFileSync(file, lines.slice(0, 101).join('\n'));
    // Started by hand, as torchrun starts them.
    const port = String(await freePort());
    const rank = (number: string) =>
      runDrm(command(one), {
        env: { RANK: number, LOCAL_RANK: number, WORLD_SIZE: '2', MASTER_ADDR: '127.0.0.1', MASTER_PORT: port },
      });
    for (const { code, stderr } of await Promise.all([rank('0'), rank('1')])) expect(code, stderr).toBe(0);
    expect(readFileSync(file, 'utf8').split('\n').slice(0, 100)).toEqual(lines.slice(0, 100));
    expectSame(scoresIn(two), scoresIn(one));
    expect(linesIn(one)).toHaveLength(linesIn(two).length);
  });

  test('end together when one is killed, and what they made is kept', async () => {
    await writePairs(path('many'), many);
    const out = fresh();
    const killRankOne = () => {
      const found = spawnSync('pgrep', ['-f', out]).stdout.toString().trim().split('\n');
      for (const pid of found) {
        const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
        if (environment.includes('RANK=1')) process.kill(Number(pid), 'SIGKILL');
      }
    };
    const ended = await runDrm(command(out, '--nproc', '2', '--draws', '20'), {
      onOutput: { when: '"step":128', act: killRankOne },
    });
    expect(ended.code, ended.stderr).toBe(4);
    expect(ended.stderr).toContain('rank 1');
    const kept = linesIn(out).length;
    expect(kept).toBeGreaterThanOrEqual(128);
    await runHere(evaluate, command(out, '--draws', '20').slice(1)); // by one process
    expect(new Set(linesIn(out).map(({ key, timestep }) => `${key} ${timestep}`)).size).toBe(linesIn(out).length);
  });
});
