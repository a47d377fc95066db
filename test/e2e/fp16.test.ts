// fp16 wherever a dtype can be given, on the fixtures' pipeline: images, scores, encodings, and training with its loss scale.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, expect, test, vi } from 'vitest';
import { command as dataCommand } from '../../cli/commands/data.js';
import { command as sampleCommand } from '../../cli/commands/sample.js';
import { command as scoreCommand } from '../../cli/commands/score.js';
import { fixture, temporaryFolder } from '../run_drm.js';
import * as policy from './grpo_training.js';
import { runHere } from './here.js';
import { rewardFolder } from './reward_folder.js';
import { figuresOf, preparedPairs, quickConfig, trainHere } from './reward_training.js';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const work = temporaryFolder();
const path = (name: string) => join(work, name);
const reward = rewardFolder({ scale: 3, t5Length: 12 });
let config = '';

beforeAll(async () => {
  await preparedPairs(path('pairs'), { train: 4, test: 0 });
  config = quickConfig(work, { dtype: 'fp16', export_dtype: 'fp16', evaluate_every: 0, batch: 2, micro_batch: 0 });
});

test('sampled and scored near what fp32 gives', async () => {
  const scores: number[] = [];
  for (const dtype of ['fp32', 'fp16']) {
    const out = path(dtype);
    const size = ['--steps', '2', '--height', '32', '--width', '32', '--seed', '3', '--k', '2', '--reward', reward];
    await runHere(sampleCommand, ['--model', fixture, '--prompt', 'fox', ...size, '--dtype', dtype, '--out', out]);
    const image = join(path('fp32'), readdirSync(path('fp32')).find((name) => name.endsWith('.png')) ?? '');
    expect((await sharp(join(out, '3-fox.png')).stats()).isOpaque).toBe(true);
    const events = await runHere(scoreCommand, ['--reward', reward, '--prompt', 'fox', '--dtype', dtype, image]);
    const result = events.flatMap((event) => (event.event === 'result' ? [event.data] : []))[0];
    scores.push((result as { scores: { score: number }[] }).scores[0]?.score ?? Number.NaN);
  }
  const [exact = 0, half = 0] = scores;
  expect(half).not.toBe(exact);
  expect(Math.abs(half - exact)).toBeLessThan(0.02 * Math.max(1, Math.abs(exact)));
});

test('a reward model: loss scale and overflows are told, and resuming goes on to the bit', async () => {
  const argv = (run: string, ...more: string[]) => ['--config', config, '--out', path(run), ...more];
  const figures = figuresOf(await trainHere(argv('whole', '--steps', '4')), 'metric');
  expect(figures).toHaveLength(4);
  for (const { loss_scale = 0, overflows = -1 } of figures) {
    expect(Math.log2(loss_scale) % 1).toBe(0);
    expect(overflows).toBeGreaterThanOrEqual(0);
  }
  expect(figures.some(({ grad_norm }) => Number.isFinite(grad_norm))).toBe(true);
  await trainHere(argv('parts', '--steps', '2'));
  const rest = figuresOf(await trainHere(argv('parts', '--steps', '4', '--resume')), 'metric');
  const learnt = ({ loss, loss_scale, overflows, grad_norm }: Record<string, number>) =>
    [loss, loss_scale, overflows, grad_norm] as const;
  expect(rest.map(learnt)).toEqual(figures.slice(2).map(learnt));
  const weights = (run: string) => readFileSync(path(`${run}/model/model.safetensors`));
  expect(weights('parts').equals(weights('whole'))).toBe(true);
  expect(weights('whole').toString('latin1', 8, 2000)).toContain('"F16"');
});

test('an encoding in fp16 is read by a training', async () => {
  const encode = ['encode', path('pairs'), '--model', fixture, '--size', '32', '--t5-length', '8', '--dtype', 'fp16'];
  await runHere(dataCommand, encode);
  const [name = ''] = readdirSync(path('pairs/encoded'));
  expect(JSON.parse(readFileSync(path(`pairs/encoded/${name}/encoded.json`), 'utf8'))).toMatchObject({ dtype: 'fp16' });
  const events = await trainHere(['--config', config, '--out', path('read'), '--steps', '1']);
  expect(JSON.stringify(events)).toContain(`encoded/${name}`);
});

test('both policies; the ratio before the first update is told', async () => {
  policy.promptFolder(work);
  for (const algorithm of ['flow', 'step']) {
    const more = { algorithm, iterations: 1, evaluate_every: 0, dtype: 'fp16', kl_beta: 0.01 };
    const file = policy.quickConfig(work, reward, more, `${algorithm}.json`);
    const events = await policy.grpoHere(['--config', file, '--out', path(algorithm)]);
    const [values = {}] = figuresOf(events, 'metric');
    expect(values.loss_scale).toBeGreaterThanOrEqual(1);
    expect((values.updates ?? 0) + (values.overflows ?? 0)).toBe(algorithm === 'flow' ? 2 : 1);
    expect(policy.said(events, 'info')).toContain('ratio before the first update: off 1 by 0 at most (fp16)');
  }
});
