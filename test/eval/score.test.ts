// `drm score` as a user runs it, with a random reward model and a random CLIP.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, test } from 'vitest';
import { RewardModel } from '../../binding/index.js';
import { readListJobs } from '../../cli/eval/list_jobs.js';
import { resolveModel } from '../../cli/hub/resolve.js';
import { loadTokenizers } from '../../cli/text/tokenizer.js';
import { writeClip } from '../rewards/clip_folder.js';
import { writeDrm } from '../rewards/drm_folder.js';
import { fixture, runDrm, temporaryFolder } from '../run_drm.js';

const folder = temporaryFolder();
const images = ['a.png', 'b.png', 'c.png'].map((name) => join(folder, name));
const pixels = (i: number) => Uint8Array.from({ length: 40 * 30 * 3 }, (_, at) => (at * (i + 3) + 50 * i) % 256);
const drm = join(folder, 'drm');
const clip = `clip:${join(folder, 'clip')}`;

beforeAll(async () => {
  await writeDrm(drm);
  writeClip(join(folder, 'clip'));
  for (const [i, file] of images.entries())
    await sharp(pixels(i), { raw: { width: 40, height: 30, channels: 3 } })
      .png()
      .toFile(file);
});

async function score(...args: string[]) {
  const { code, stdout, stderr } = await runDrm(['score', '--threads', '1', '--json', ...args]);
  const events = stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
  const data = events.find(({ event }) => event === 'result')?.data;
  return { code, stderr, events, data, scores: (data?.scores ?? []).map((row: { score: number }) => row.score) };
}

describe('drm score', () => {
  test('says what the reward model says', async () => {
    const { code, data, scores, stderr } = await score('--reward', drm, '--prompt', 'a red fox', ...images);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const { source, tokenizers } = await resolveModel(fixture, {});
    const model = await RewardModel.load(
      { checkpoint: { config: join(drm, 'config.json'), weights: [join(drm, 'model.safetensors')] }, base: source },
      { device: 'cpu', dtype: 'fp32' },
    );
    const { tokens } = await loadTokenizers(tokenizers).encode('a red fox', 16);
    const expected = await model.score({
      images: images.map((_, i) => ({ pixels: pixels(i), width: 40, height: 30 })),
      prompts: [tokens],
      ...{ promptOf: [0, 0, 0], samples: [0, 0, 0], timesteps: [0], draws: 1, seed: 0n, posteriorSample: false },
    });
    for (const [i, value] of expected.entries()) expect(scores[i]).toBeCloseTo(value, 5);
    expect(new Set(scores).size).toBe(3);
    expect(data.definitions).toMatchObject([{ unit: 'score', definition: expect.stringContaining('no noise added') }]);
    model.dispose();
  });

  test('gives an image the same score whatever is scored beside it, and another for another seed', async () => {
    const [, second = ''] = images;
    const noisy = ['--reward', drm, '--prompt', 'a red fox', '--timestep', '700'];
    const all = await score(...noisy, ...images);
    const alone = await score(...noisy, second);
    expect(alone.scores[0]).toBeCloseTo(all.scores[1], 5);
    const reseeded = await score(...noisy, '--seed', '1', second);
    expect(Math.abs(reseeded.scores[0] - alone.scores[0])).toBeGreaterThan(1e-5);
    const averaged = await score(...noisy, '--draws', '2', second);
    expect(averaged.data.definitions[0].definition).toContain('noise of level 0.7');
    expect(averaged.data.definitions[0].definition).toContain('mean of 2 draws');
    expect(Math.abs(averaged.scores[0] - alone.scores[0])).toBeGreaterThan(1e-6);
  });

  test('takes pairs from a file, several rewards, and their sum', async () => {
    const file = join(folder, 'pairs.jsonl');
    writeFileSync(
      file,
      [
        { prompt: 'a red fox', chosen: 'a.png', rejected: 'b.png' },
        { prompt: 'a cat', images: ['b.png', 'c.png'] },
        { prompt: 'a dog', image: 'c.png' },
      ]
        .map((line) => `${JSON.stringify(line)}\n`)
        .join('\n'),
    );
    const sum = `2*${drm}+-1*${clip}`;
    const { code, data } = await score(...['--reward', drm, '--reward', clip, '--reward', sum], '--pairs', file);
    expect(code).toBe(0);
    expect(data.scores).toHaveLength(15);
    const by = (reward: string) =>
      data.scores.flatMap((row: { reward: string; score: number }) => (row.reward === reward ? [row.score] : []));
    for (const [i, value] of by(sum).entries()) expect(value).toBeCloseTo(2 * by(drm)[i] - by(clip)[i], 5);
    expect(data.pairs[0]).toEqual({ reward: drm, right: Number(by(drm)[0] > by(drm)[1]), of: 1 });
  });

  test('prints a table', async () => {
    const { stdout } = await runDrm(['score', '--reward', drm, '--prompt', 'a red fox', ...images]);
    const [head = '', ...lines] = stdout.split('\n');
    expect(head).toMatch(/^image +score$/);
    expect(lines[0]).toMatch(/a\.png +-?\d+\.\d{4}$/);
    expect(stdout.replace(/\s+/g, ' ')).toContain('no noise added');
  });

  test('names images that cannot be read, and scores the others', async () => {
    const broken = join(folder, 'broken.png');
    writeFileSync(broken, 'no image');
    const { code, stderr, scores, events, data } = await score(
      ...['--reward', clip, '--prompt', 'a red fox', broken, images[0] as string, '/nowhere.png'],
    );
    expect(code).toBe(3);
    expect(scores).toHaveLength(1);
    expect(data.bad.map(({ image }: { image: string }) => image)).toEqual([broken, '/nowhere.png']);
    expect(stderr).toContain('2 of 3 images could not be read');
    expect(events.filter(({ event }) => event === 'warning')).toHaveLength(2);
  });

  test('refuses a reward model of another base, naming what differs', async () => {
    const { code, stderr } = await score('--reward', drm, '--model', 'tiny', '--prompt', 'x', images[0] as string);
    expect(code).toBe(3);
    expect(stderr).toContain('belongs to another base');
  });

  test.each([
    [['--prompt', 'x', 'a.png'], 2, 'expected a reward'],
    [['--reward', 'jugde', '--prompt', 'x', 'a.png'], 2, 'did you mean judge?'],
    [['--reward', 'judge', 'a.png'], 2, 'expected a prompt'],
    [['--reward', 'judge', '--prompt', 'x'], 2, 'at least one image'],
    [['--reward', 'judge', '--prompt', 'x', '--pairs', 'p.jsonl'], 2, 'found both'],
    [['--reward', 'judge', '--prompt', 'x', '--timestep', '500', 'a.png'], 2, 'clean images only'],
    [['--reward', 'judge', '--prompt', 'x', '--timestep', '1001', 'a.png'], 2, '--timestep 1001'],
    [['--reward', 'judge', '--pairs', '/nowhere'], 3, '/nowhere'],
    [['--reward', 'drm:/nowhere', '--prompt', 'x', 'a.png'], 4, '/nowhere'],
  ])('refuses %j', async (args, code, part) => {
    const found = await score(...args);
    expect(found.stderr).toContain(part);
    expect(found.code).toBe(code);
  });

  test.each([
    ['{"prompt": "a"', 'expected JSON'],
    ['{"prompt": "a"}', 'expected {"prompt", "image"}'],
    ['{"image": "a.png"}', 'line 1'],
    ['{"prompt": "a", "chosen": "a.png"}', 'line 1'],
    ['', 'at least one line'],
  ])('refuses the line %j', (line, part) => {
    const file = join(folder, 'bad.jsonl');
    writeFileSync(file, `${line}\n`);
    expect(() => readListJobs(file)).toThrow(
      expect.objectContaining({ code: 'BAD_FILE', message: expect.stringContaining(part) }),
    );
  });
});
