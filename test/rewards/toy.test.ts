// A scorer is one file and one line: a toy one, registered here, is taken wherever a reward is.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, test } from 'vitest';
import { evaluateImages } from '../../cli/commands/eval/images.js';
import { IMAGES_OPTIONS as EVAL } from '../../cli/commands/eval/options.js';
import { scoreFiles } from '../../cli/commands/score/images.js';
import { OPTIONS as SCORE } from '../../cli/commands/score/options.js';
import type { Context } from '../../cli/common/command.js';
import type { Event } from '../../cli/common/events.js';
import { readOptions } from '../../cli/common/options.js';
import { resolveConfig } from '../../cli/config/resolve.js';
import { findImageReward, registerReward } from '../../cli/rewards/registry.js';
import { parseRewards } from '../../cli/rewards/weighted_sum.js';
import { StepwiseReward } from '../../cli/sample/stepwise.js';
import { fixture, temporaryFolder } from '../run_drm.js';
import { toyReward } from './toy_reward.js';

registerReward({ name: 'toy', about: 'how red an image is', sees: 'images', find: toyReward });

const folder = temporaryFolder();
const images = [200, 40].map((red) => join(folder, `${red}.png`));

beforeAll(async () => {
  for (const [i, file] of images.entries())
    await sharp({
      create: { width: 12, height: 10, channels: 3, background: { r: [200, 40][i] as number, g: 9, b: 9 } },
    })
      .png()
      .toFile(file);
});

/** As the command line gives it. */
function context<const Args extends readonly unknown[], Options extends object>(
  args: Args,
  options: Options,
  out: string,
) {
  const events: Event[] = [];
  const given: Context<Options, Args> = {
    ...{ args, options, signal: new AbortController().signal },
    events: { emit: (event) => events.push(event) },
    global: { device: 'cpu', threads: 1, json: true, quiet: true, verbose: false, color: false, set: [], out },
  };
  return { given, result: () => events.find((one) => one.event === 'result') };
}

describe('a reward that a test registers', () => {
  test('scores images in `drm score`, alone and in a sum', async () => {
    const { given, result } = context(
      [images],
      readOptions(SCORE, { reward: ['toy', '-2*toy+1*judge'], prompt: 'x' }),
      folder,
    );
    await scoreFiles(given);
    const { scores, definitions } = JSON.parse(readFileSync(join(folder, 'scores.json'), 'utf8'));
    const toy = scores.filter(({ reward }: { reward: string }) => reward === 'toy');
    expect(toy.map(({ score }: { score: number }) => score)).toEqual([200 / 255, 40 / 255]);
    expect(scores).toHaveLength(4);
    expect(definitions[0]).toMatchObject({ unit: 'redness', definition: expect.stringContaining('red channel') });
    expect(result()).toMatchObject({ text: expect.stringContaining('0.7843') });
  });

  test('judges the images of `drm eval images`', async () => {
    const prompts = join(folder, 'prompts.txt');
    writeFileSync(prompts, 'a red fox\na cat\n');
    const out = join(folder, 'out');
    const given = { model: fixture, prompts, scorer: ['toy'], steps: '2', size: '32', n: '2' };
    await evaluateImages(context([], readOptions(EVAL, given), out).given);
    const { rows } = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8'));
    const [{ verdicts, images }] = rows;
    expect(images).toBe(4);
    const [verdict] = verdicts;
    expect(verdict).toMatchObject({ scorer: 'toy', unit: 'redness', images: 4 });
    expect(verdict.score.mean).toBeGreaterThan(0);
    expect(verdict.score.mean).toBeLessThan(1);
    expect(verdict).not.toHaveProperty('retrieval'); // it has no space to search
  }, 60_000);

  test('does not choose among candidates, which only the core could let it see', async () => {
    const settings = { ...resolveConfig('sample', { flags: { k: 2, reward: 'toy' } }).values };
    const reward = StepwiseReward.find(settings);
    await expect(reward?.load({ device: 'cpu', dtype: 'fp32' })).rejects.toThrow(
      /^--reward toy: expected a reward that the core can ask .* such as judge$/,
    );
  });

  test('is named among those that are known, and guessed at', () => {
    expect(() => parseRewards('tyo')).toThrow(/tiny, judge, truth, toy, drm:PATH.*did you mean toy\?/);
    expect(() => findImageReward('toi')).toThrow(
      /^--scorer toi: expected one of judge, truth, toy, clip:FOLDER, .*; did you mean toy\?$/,
    );
    expect(parseRewards('0.5*toy+0.5*judge')).toMatchObject([{ reward: { name: 'toy', sees: 'images' } }, {}]);
  });
});
