// `drm sample --k`: step-wise sampling as a user runs it.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { readText } from '../../cli/image/png_text.js';
import { quick, runDrm, temporaryFolder } from '../run_drm.js';
import { foreignRewardFolder, rewardFolder } from './reward_folder.js';

const reward = rewardFolder();
const fox = [...quick, '--steps', '4', '--prompt', 'a red fox'];

async function sampled(args: string[]): Promise<string> {
  const out = temporaryFolder();
  const { code, stderr } = await runDrm([...args, '--out', out]);
  expect(stderr).toContain('done in');
  expect(code).toBe(0);
  return out;
}
const image = (folder: string, name = '0-a-red-fox.png') => readFileSync(join(folder, name));

test('one candidate is plain sampling, byte for byte, and looks for no reward', async () => {
  const plain = await sampled(fox);
  const one = await sampled([...fox, '--k', '1', '--reward', 'no/such/reward']);
  expect(image(one).equals(image(plain))).toBe(true);
});

test('an image says what chose it, and is repeated from that', async () => {
  const chosen = await sampled([...fox, '--k', '3', '--reward', reward, '--noise-level', '0.5']);
  const { settings } = JSON.parse(readText(image(chosen)).drm ?? '{}');
  expect(settings).toMatchObject({ k: 3, reward, noise_level: 0.5, select: 'argmax', score_from: 0, score_until: 1 });
  expect(readText(image(chosen)).parameters).toContain('Candidates: 3');
  const again = temporaryFolder();
  await runDrm(['sample', '--from', join(chosen, '0-a-red-fox.png'), '--out', again]);
  expect(image(again).equals(image(chosen))).toBe(true);
  const pixels = (folder: string) => sharp(image(folder)).raw().toBuffer();
  expect((await pixels(chosen)).equals(await pixels(await sampled(fox)))).toBe(false);
});

test('an image does not depend on batches or on what else is in the run', async () => {
  const args = [...quick, '--prompt', 'a', '--prompt', 'b', '--n', '2', '--k', '4', '--reward', `drm:${reward}`];
  const together = await sampled(args);
  const alone = await sampled([...args, '--batch', '1']);
  const names = readdirSync(together).sort();
  expect(names).toHaveLength(4);
  for (const name of names) {
    const [a, b] = await Promise.all([together, alone].map((from) => sharp(image(from, name)).raw().toBuffer()));
    const worst = a?.reduce((most, value, i) => Math.max(most, Math.abs(value - (b?.[i] ?? 0))), 0);
    expect(worst).toBeLessThanOrEqual(1); // products of another batch round differently
  }
});

test('--trace tells every scored step: the best score goes on', async () => {
  const out = await sampled([...fox, '--steps', '5', '--k', '3', '--reward', reward, '--n', '2', '--trace']);
  for (const seed of [0, 1]) {
    const trace = JSON.parse(readFileSync(join(out, `${seed}-a-red-fox.trace.json`), 'utf8'));
    expect(trace).toMatchObject({ prompt: 'a red fox', seed: String(seed), k: 3, reward, total_steps: 5 });
    const steps = trace.steps as { step: number; sigma: number; scores: number[]; chosen: number }[];
    expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4]); // the last step is Euler's
    for (const { scores, chosen } of steps) {
      expect(new Set(scores).size).toBe(3);
      expect(scores[chosen]).toBe(Math.max(...scores));
    }
    expect(steps.map(({ sigma }) => sigma)).toEqual([...steps.map(({ sigma }) => sigma)].sort((a, b) => b - a));
    const sheet = await sharp(join(out, `${seed}-a-red-fox.trace.png`)).metadata();
    expect([sheet.width, sheet.height]).toEqual([4 * (48 + 8) + 5 * 2, 4 * (32 + 8 + 18) + 5 * 2]);
  }
});

test('a scorer of finished images chooses by what candidates would become', async () => {
  const args = ['sample', '--model', 'tiny', '--threads', '1', '--steps', '5', '--prompt', 'a red fox', '--n', '2'];
  const judged = [...args, '--k', '3', '--reward', 'judge', '--trace'];
  const [chosen, again, plain] = [await sampled(judged), await sampled(judged), await sampled(args)];
  const names = ['0-a-red-fox.png', '1-a-red-fox.png'];
  const pixels = (folder: string, name: string) => sharp(image(folder, name)).raw().toBuffer();
  for (const name of names) {
    expect(image(again, name).equals(image(chosen, name))).toBe(true);
    expect((await pixels(plain, name)).equals(await pixels(chosen, name))).toBe(false);
  }
  const trace = JSON.parse(readFileSync(join(chosen, '1-a-red-fox.trace.json'), 'utf8'));
  for (const { scores, chosen: best } of trace.steps as { scores: number[]; chosen: number }[]) {
    expect(scores[best]).toBe(Math.max(...scores));
    for (const score of scores) expect(Math.abs(score)).toBeLessThanOrEqual(1); // cosines
  }
  // What it chose, `drm score` puts higher than what came without it.
  const scored = temporaryFolder();
  const files = [chosen, plain].flatMap((folder) => names.map((name) => join(folder, name)));
  await runDrm(['score', '--reward', 'judge', '--prompt', 'a red fox', ...files, '--out', scored]);
  const { scores } = JSON.parse(readFileSync(join(scored, 'scores.json'), 'utf8'));
  const [a, b, c, d] = (scores as { score: number }[]).map(({ score }) => score) as [number, number, number, number];
  expect(a + b).toBeGreaterThan(c + d);
});

test('outside the scored part steps are plain', async () => {
  const trace = async (flags: string[]) => {
    const out = await sampled([...fox, '--steps', '10', '--k', '2', '--reward', reward, '--trace', ...flags]);
    const file = join(out, '0-a-red-fox.trace.json');
    return existsSync(file)
      ? (JSON.parse(readFileSync(file, 'utf8')).steps as { step: number }[]).map(({ step }) => step)
      : [];
  };
  expect(await trace(['--score-from', '0.3', '--score-until', '0.6'])).toEqual([4, 5, 6]);
  expect(await trace(['--score-until', '0'])).toEqual([]);
});

test('softmax draws by the seed', async () => {
  const args = [...fox, '--k', '4', '--reward', reward, '--select', 'softmax:10'];
  expect(image(await sampled(args)).equals(image(await sampled(args)))).toBe(true);
});

test.each<[string, string[], number, string[]]>([
  ['no reward', ['--k', '6'], 2, ['--k 6', 'recommends none', '--reward']],
  ['a reward that is no such thing', ['--k', '6', '--reward', 'tinny'], 2, ['--reward tinny', 'did you mean tiny?']],
  ['the truth', ['--k', '6', '--reward', 'truth'], 2, ['--reward truth', 'never guides', '--scorer truth']],
  ['a folder that is not there', ['--k', '6', '--reward', 'drm:/no/such'], 4, ['/no/such', 'drm train']],
  ['k below 1', ['--k', '0', '--reward', reward], 2, ['k', '1']],
  ['k beyond measure', ['--k', '100000', '--reward', reward], 2, ['k', '1024']],
  ['k that is no number', ['--k', 'many', '--reward', reward], 2, ['--k', 'many']],
  ['no noise', ['--k', '2', '--reward', reward, '--noise-level', '0'], 2, ['--noise-level 0', 'all candidates']],
  ['another rule', ['--k', '2', '--reward', reward, '--select', 'best'], 2, ['select', 'best']],
  ['temperature 0', ['--k', '2', '--reward', reward, '--select', 'softmax:0'], 2, ['softmax:0', 'above 0']],
  [
    'a part that ends before it begins',
    ['--k', '2', '--reward', reward, '--score-from', '0.8', '--score-until', '0.2'],
    2,
    ['--score-from 0.8'],
  ],
  ['a trace of nothing', ['--trace'], 2, ['--trace', '--k 6']],
  ['a reward of another base', ['--k', '2', '--reward', foreignRewardFolder()], 3, ['another base', 'latent channels']],
  ['a reward of NaN', ['--k', '2', '--reward', rewardFolder({ scale: Number.NaN })], 3, ['step 1 of 4', 'NaN', 'fp32']],
])('%s is said in a sentence', async (_, flags, code, parts) => {
  const out = join(temporaryFolder(), 'out');
  const { code: got, stderr } = await runDrm([...fox, ...flags, '--out', out]);
  for (const part of parts) expect(stderr).toContain(part);
  expect(stderr).not.toMatch(/\n\s+at /);
  expect(got).toBe(code);
});
