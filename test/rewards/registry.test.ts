// Names of rewards: what they lead to, and what is said of those that lead nowhere.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findReward } from '../../cli/rewards/registry.js';
import { parseRewards } from '../../cli/rewards/weighted_sum.js';
import { temporaryFolder } from '../run_drm.js';
import { writeClip } from './clip_folder.js';

function drmFolder(at: string, config: object = { _class_name: 'DiffusionRewardModel', base: 'tiny' }): string {
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, 'config.json'), JSON.stringify(config));
  writeFileSync(join(at, 'model.safetensors'), '');
  return at;
}

describe('a reward is', () => {
  test('a reward model by its folder, or that of its run', () => {
    const run = temporaryFolder();
    const folder = drmFolder(join(run, 'model'));
    writeFileSync(join(run, 'config.json'), '{"task": "train"}'); // a run has one of its own
    const checkpoint = { config: join(folder, 'config.json'), weights: [join(folder, 'model.safetensors')] };
    for (const name of [folder, run, `drm:${folder}`, `drm:${run}`])
      expect(findReward(name)).toMatchObject({ sees: 'noisy latents', name, checkpoint, base: 'tiny' });
  });

  test("the authors' single file, which names no base", () => {
    const file = join(drmFolder(temporaryFolder()), 'model.safetensors');
    const found = findReward(file);
    expect(found).toMatchObject({ sees: 'noisy latents', name: file, checkpoint: { weights: [file] } });
    expect(found).not.toHaveProperty('base');
  });

  test('a CLIP, by name, kind, or folder', () => {
    const folder = writeClip(temporaryFolder());
    for (const name of ['judge', `clip:${folder}`, folder])
      expect(findReward(name)).toMatchObject({ sees: 'images', name });
  });

  test('a weighted sum', () => {
    const folder = drmFolder(join(temporaryFolder(), 'a+b'));
    expect(parseRewards(`0.7*drm:${folder}+-.3e1*judge`).map(({ weight, reward }) => [weight, reward.name])).toEqual([
      [0.7, `drm:${folder}`],
      [-3, 'judge'],
    ]);
    expect(parseRewards(folder)).toMatchObject([{ weight: 1, reward: { name: folder } }]);
  });
});

describe('no reward is', () => {
  test.each([
    ['jugde', 'USAGE', 'did you mean judge?'],
    ['tinny', 'USAGE', 'did you mean tiny?'],
    ['dmr:runs/a', 'USAGE', 'did you mean drm:PATH?'],
    ['', 'USAGE', 'expected one of'],
    ['drm:', 'USAGE', 'expected one of'],
    ['clip:', 'USAGE', 'expected one of'],
    ['constructor', 'USAGE', 'expected one of'],
    ['drm:/nowhere', 'MISSING_WEIGHTS', '/nowhere'],
    ['0.5*judge+0.5*jugde', 'USAGE', '--reward jugde'],
  ])('%j', (name, code, part) => {
    expect(() => parseRewards(name)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(part as string) }),
    );
  });

  test('a folder that holds something else, or half a model', () => {
    const other = drmFolder(temporaryFolder(), { _class_name: 'AutoencoderKL' });
    expect(() => findReward(other)).toThrow(/AutoencoderKL/);
    const clip = writeClip(temporaryFolder());
    expect(() => findReward(`drm:${clip}`)).toThrow(/expected a reward model.*"clip"/);
    const half = temporaryFolder();
    writeFileSync(join(half, 'config.json'), '{"_class_name": "DiffusionRewardModel"}');
    expect(() => findReward(half)).toThrow(expect.objectContaining({ code: 'MISSING_WEIGHTS' }));
    writeFileSync(join(half, 'config.json'), '{');
    expect(() => findReward(half)).toThrow(expect.objectContaining({ code: 'BAD_FILE' }));
    const pickle = join(half, 'drm.pt');
    writeFileSync(pickle, '');
    expect(() => findReward(pickle)).toThrow(/never read/);
  });
});
