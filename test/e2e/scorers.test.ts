// The published scorers as a user runs them, all of them by one command, on miniatures with random weights: what the numbers
// look like, not what they say.
import { copyFileSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { beforeAll, describe, expect, test } from 'vitest';
import { writePairs } from '../eval/small_pairs.js';
import { writeLpips } from '../rewards/lpips_folder.js';
import { MINIATURES, type Miniature, writeMiniatures } from '../rewards/miniatures.js';
import { fixture, type RunOptions, repository, runDrm, temporaryFolder } from '../run_drm.js';
import { promptFolder, quickConfig } from './grpo_training.js';

const NAMES = Object.keys(MINIATURES) as Miniature[];
const scorers = NAMES.flatMap((name) => ['--scorer', name]);
let scorerFolder: string;

beforeAll(() => {
  scorerFolder = writeMiniatures(temporaryFolder());
});

async function run(args: string[], options: RunOptions = {}) {
  const env = { DRM_SCORERS: scorerFolder, HF_HOME: join(scorerFolder, 'no-cache'), ...options.env };
  const { code, stdout, stderr } = await runDrm([...args, '--threads', '1', '--json'], { ...options, env });
  const lines = stdout.split('\n').filter((line) => line !== '');
  const events = lines.map((line) => JSON.parse(line));
  const result = events.find(({ event }) => event === 'result');
  return { code, stderr, events, data: result?.data, text: (result?.text ?? '') as string };
}

async function png(file: string, change: (image: Sharp) => Sharp = (image) => image): Promise<string> {
  const pixels = Uint8Array.from({ length: 60 * 40 * 3 }, (_, i) => (i * 13 + (i >> 7)) % 256);
  await change(sharp(pixels, { raw: { width: 60, height: 40, channels: 3 } })).toFile(file);
  return file;
}

describe('all scorers by one command', () => {
  test('drm eval pairs: the whole table; run again, no network is loaded', { timeout: 300_000 }, async () => {
    const folder = temporaryFolder();
    const data = await writePairs(join(folder, 'pairs'));
    const out = join(folder, 'out');
    const args = ['eval', 'pairs', '--data', data, ...scorers, '--out', out];
    const first = await run(args);
    expect(first.stderr).toBe('');
    expect(first.code).toBe(0);
    expect(first.data.rows.map(({ reward }: { reward: string }) => reward)).toEqual(NAMES);
    for (const { overall } of first.data.rows) expect(overall).toMatchObject({ of: 17, failed: 0 });
    for (const name of NAMES) expect(first.text).toContain(name);
    expect(first.text).toContain('antialiased');
    const loading = (events: { event: string; id?: string }[]) => events.filter(({ id }) => id === 'load').length;
    expect(loading(first.events)).toBeGreaterThan(0);
    const again = await run(args);
    expect(again.code).toBe(0);
    expect(loading(again.events)).toBe(0);
    expect(again.data.rows).toEqual(first.data.rows);
  });

  test('drm eval images: a verdict of each; what was judged is not judged again', { timeout: 300_000 }, async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'prompts.txt'), 'a red fox\nan owl\n');
    const out = join(folder, 'out');
    const args = ['eval', 'images', '--model', fixture, '--prompts', join(folder, 'prompts.txt'), '--steps', '2'];
    const more = [
      '--size',
      '32',
      '--n',
      '2',
      '--out',
      out,
      '--diversity',
      `lpips:${writeLpips(join(folder, 'lpips'))}`,
    ];
    const first = await run([...args, ...more, ...scorers]);
    expect(first.stderr).toBe('');
    expect(first.code).toBe(0);
    expect(first.text).toMatch(/setting +clip-h +pickscore +hps\n/); // the scorers side by side
    const [row] = first.data.rows;
    expect(row.verdicts.map(({ scorer }: { scorer: string }) => scorer)).toEqual(NAMES);
    for (const { score, images } of row.verdicts) {
      expect(images).toBe(4);
      expect(Number.isFinite(score.mean)).toBe(true);
    }
    const kept = () =>
      readdirSync(join(out, 'judged')).map((name) => [name, statSync(join(out, 'judged', name)).mtimeMs]);
    const before = kept();
    expect(before).toHaveLength(NAMES.length);
    const again = await run([...args, ...more, ...scorers]);
    expect(again.data.rows[0].verdicts).toEqual(row.verdicts);
    expect(kept()).toEqual(before);
  });

  test('drm score: sigma beside the score that has one', { timeout: 120_000 }, async () => {
    const image = await png(join(temporaryFolder(), 'a.png'));
    const { code, data, text } = await run([
      'score',
      ...NAMES.flatMap((name) => ['--reward', name]),
      '--prompt',
      'a cat',
      image,
    ]);
    expect(code).toBe(0);
    expect(text).toMatch(/image\s+reward\s+score\s+sigma/);
    for (const { reward, score, deviation } of data.scores) {
      expect(Number.isFinite(score)).toBe(true);
      expect(deviation !== undefined, reward).toBe(reward === 'hpsv3');
    }
  });

  test('drm grpo: a sum of two as the reward, a third as the judge', { timeout: 300_000 }, async () => {
    const work = temporaryFolder();
    promptFolder(work);
    const settings = { algorithm: 'flow', k: 1, iterations: 1, evaluate_every: 1, judge: 'hpsv2.1' };
    const config = quickConfig(work, '0.7*pickscore@over-26+0.3*imagereward', settings);
    const { code, events, stderr } = await run(['grpo', '--config', config, '--out', join(work, 'run')]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const evaluation = events.find(({ event }) => event === 'evaluation');
    expect(Number.isFinite(evaluation.values.judge)).toBe(true);
  });
});

describe('images of any sort', () => {
  test('grey, with alpha and in inks are scored as their colours', { timeout: 120_000 }, async () => {
    const folder = temporaryFolder();
    const plain = await png(join(folder, 'plain.png'));
    const alpha = await png(join(folder, 'alpha.png'), (image) => image.ensureAlpha(0.5));
    const grey = await png(join(folder, 'grey.png'), (image) => image.toColourspace('b-w'));
    const inks = await png(join(folder, 'inks.jpg'), (image) => image.toColourspace('cmyk').jpeg());
    const { code, data } = await run([
      'score',
      '--reward',
      'hpsv2',
      '--reward',
      'imagereward',
      '--prompt',
      'a',
      plain,
      alpha,
      grey,
      inks,
    ]);
    expect(code).toBe(0);
    const of = (reward: string) =>
      data.scores.flatMap((row: { reward: string; score: number }) => (row.reward === reward ? [row.score] : []));
    for (const reward of ['hpsv2', 'imagereward']) {
      const [a, b, ...others] = of(reward);
      expect(a).toBe(b); // alpha is dropped
      expect(others).toHaveLength(2);
      expect(others.every(Number.isFinite)).toBe(true);
    }
  });

  test('HPSv3 refuses an image that is 200 times as wide as high', { timeout: 120_000 }, async () => {
    const file = await png(join(temporaryFolder(), 'line.png'), (image) => image.resize(420, 2, { fit: 'fill' }));
    const { code, stderr } = await run(['score', '--reward', 'hpsv3', '--prompt', 'a', file]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/200/);
  });
});

describe('files that are not what they should be', () => {
  const copy = (name: Miniature, as: string) => MINIATURES[name](join(temporaryFolder(), as));
  const refused = async (reward: string) => {
    const { code, stderr } = await run([
      'score',
      '--reward',
      reward,
      '--prompt',
      'a',
      await png(join(temporaryFolder(), 'a.png')),
    ]);
    expect(code).not.toBe(0);
    expect(code).not.toBe(1);
    return stderr;
  };

  test("another scorer's file", async () => {
    const folder = copy('imagereward', 'x');
    const file = join(folder, 'other.safetensors');
    copyFileSync(join(scorerFolder, 'pickscore/model.safetensors'), file);
    expect(await refused(`imagereward:${file}`)).toMatch(/\[load\] .*other.safetensors.*CLIP/s);
  });

  test("another text than HPSv3's", async () => {
    const folder = copy('hpsv3', 'x');
    const file = join(folder, 'hpsv3_prompt.json');
    const { instruction, tail } = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ instruction: `${instruction} `, tail }));
    expect(await refused(`hpsv3:${folder}`)).toMatch(
      /expected the text with SHA-256 .*found .*make it again: pip download/s,
    );
  });

  test('a checkpoint that is cut, and those that could run code', async () => {
    const folder = copy('hps', 'x');
    const cut = join(folder, 'cut.pt');
    writeFileSync(cut, readFileSync(join(folder, 'hpc.pth')).subarray(0, 100_000));
    expect(await refused(`hps:${cut}`)).toContain('the download is incomplete, fetch it again');
    const pickles = join(repository, 'test/csrc/data/pickle');
    copyFileSync(join(pickles, 'refused_system.pt'), join(folder, 'code.pth'));
    expect(await refused(`hps:${join(folder, 'code.pth')}`)).toContain(
      'found the function posix.system; such a file can',
    );
    const mps = copy('mps', 'y');
    copyFileSync(join(pickles, 'refused_module_zip.pth'), join(mps, 'MPS_overall_checkpoint.pth'));
    expect(await refused(`mps:${join(mps, 'MPS_overall_checkpoint.pth')}`)).toMatch(
      /found the class mps\.CLIPModel; .* convert it once to safetensors/,
    );
  });
});
