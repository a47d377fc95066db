// `drm pretrain scorer` end to end: preferences learned from pairs, interrupted and resumed, and the scorer used.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, expect, test, vi } from 'vitest';
import { PhiloxStream } from '../../cli/random/philox_stream.js';
import { findImageReward } from '../../cli/rewards/registry.js';
import { scoreImages } from '../../cli/rewards/reward.js';
import { runDrm, temporaryFolder } from '../run_drm.js';
import {
  at,
  clipArchitecture,
  learned,
  linesOf,
  preparedSet,
  pretrain,
  resumeArguments,
  tokenizerOf,
} from './pretraining.js';
import { preparedPairs } from './reward_training.js';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const work = temporaryFolder();
const path = (name: string) => join(work, name);
const config = path('scorer.json');

/** Noise, twice as bright where it is preferred. */
const pixelsOf = (i: number) => {
  const draws = new PhiloxStream(1, 2, i);
  return Uint8Array.from({ length: 16 * 16 * 3 }, () => draws.below(i % 2 === 0 ? 256 : 128));
};
const image = (i: number) =>
  sharp(pixelsOf(i), { raw: { width: 16, height: 16, channels: 3 } })
    .png()
    .toBuffer();

beforeAll(async () => {
  await preparedPairs(path('pairs'), { train: 64, test: 16, image });
  const architecture = clipArchitecture(path('tower'), 16, await tokenizerOf(await preparedSet(work), work));
  const file = join(architecture, 'config.json');
  const tower = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...tower, head_config: { hidden_sizes: [8, 8, 8, 8] } }));
  const settings = {
    ...{ task: 'pretrain_scorer', architecture, data: path('pairs'), size: 16, steps: 60, batch: 16, micro_batch: 8 },
    ...{
      learning_rate: 0.01,
      warm_up: 1,
      log_every: 1,
      evaluate_every: 30,
      evaluate_samples: 16,
      checkpoint_every: 20,
    },
    ...{ ema_decay: 0.9, dtype: 'fp32', export_dtype: 'fp32', seed: 5 },
  };
  writeFileSync(config, JSON.stringify(settings));
  expect(await pretrain('scorer', config, path('whole'))).toMatchObject({ code: 0 });
});

test('what is preferred is learned, also of pairs that were held out', async () => {
  const evaluations = linesOf(readFileSync(path('whole/metrics.jsonl'), 'utf8')).filter(
    (e) => e.event === 'evaluation',
  );
  expect(evaluations.map(({ step }) => step)).toEqual([30, 60]);
  expect(evaluations.at(-1)?.values.accuracy).toBe(1);
});

test('the scorer is read from its run or its folder, and says what the training said', async () => {
  const images = [0, 1, 2, 3].map((i) => ({ pixels: pixelsOf(i), width: 16, height: 16 }));
  const scores = await Promise.all(
    ['whole', 'whole/model'].map(async (folder) => {
      const scorer = await findImageReward(`scorer:${path(folder)}`).load({ device: 'cpu' });
      const found = await scoreImages(scorer, images, ['', '', '', '']);
      scorer.dispose();
      return found;
    }),
  );
  const [first, second, third, fourth] = scores[0] as [number, number, number, number];
  expect(first).toBeGreaterThan(second);
  expect(third).toBeGreaterThan(fourth);
  expect(scores[1]).toEqual(scores[0]);
  expect(() => findImageReward(`scorer:${work}`)).toThrow(/expected a folder of `drm pretrain scorer`/);
});

test('interrupted and resumed as printed: the same weights and figures', async () => {
  const stopped = await pretrain('scorer', config, path('stopped'), [], at(33, 'SIGINT'));
  expect(stopped.code).toBe(130);
  expect(await runDrm(resumeArguments(stopped))).toMatchObject({ code: 0 });
  expect(learned(path('stopped'))).toEqual(learned(path('whole')));
  const weights = (run: string) => readFileSync(path(`${run}/model/model.safetensors`));
  expect(weights('stopped').equals(weights('whole'))).toBe(true);
});

test('a tower of another size is told before anything is read', async () => {
  const refused = await pretrain('scorer', config, path('refused'), ['--set', 'size=32']);
  expect(refused.code).toBe(3);
  expect(refused.stderr + refused.stdout).toContain('size: expected 16, the image_size of');
});
