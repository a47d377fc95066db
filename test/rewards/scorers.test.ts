// The published scorers as rewards, on miniatures: names, variants, files, units. That the arithmetic is right the golden
// cases say (test/parity/scorers/).
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Bitmap } from '../../binding/types.js';
import { findImageReward, findReward } from '../../cli/rewards/registry.js';
import { scoreImages } from '../../cli/rewards/reward.js';
import { parseRewards } from '../../cli/rewards/weighted_sum.js';
import { readTensors } from '../parity/safetensors.js';
import { temporaryFolder } from '../run_drm.js';
import { fixtures, MINIATURES, type Miniature, writeMiniatures } from './miniatures.js';

const NAMES = Object.keys(MINIATURES) as Miniature[];
const options = { device: 'cpu' };
let all: string;

beforeAll(() => {
  all = writeMiniatures(temporaryFolder());
});
afterEach(() => vi.unstubAllEnvs());

function here(): void {
  vi.stubEnv('DRM_SCORERS', all);
  vi.stubEnv('HF_HOME', join(all, 'no-cache'));
}

function nowhere(): string {
  const home = temporaryFolder();
  vi.stubEnv('HF_HOME', home);
  vi.stubEnv('HF_HUB_CACHE', '');
  vi.stubEnv('DRM_SCORERS', '');
  return home;
}

/** Another image for each seed. */
const image = (seed: number, width = 40, height = 30): Bitmap => ({
  pixels: Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * (seed * 7 + 3) + (i >> 5) * seed) % 256),
  width,
  height,
});

describe('a scorer is', () => {
  test.each(NAMES)('%s, by its name alone, with a folder', async (name) => {
    here();
    const [alone, placed] = [findImageReward(name), findImageReward(`${name}:${join(all, name)}`)];
    const [a, b] = [await alone.load(options), await placed.load(options)];
    const images = [image(1), image(2)];
    const scores = await scoreImages(a, images, ['a red fox', 'a cat']);
    expect(scores.every(Number.isFinite)).toBe(true);
    expect(scores[0]).not.toBe(scores[1]);
    expect(await scoreImages(b, images, ['a red fox', 'a cat'])).toEqual(scores);
    expect(a.weights).toBe(b.weights);
    expect(a.definitions({ ...viewing })[0]).toContain('image');
    a.dispose();
    // Gives its memory back, and works again when it is asked again.
    expect(await scoreImages(a, images, ['a red fox', 'a cat'])).toEqual(scores);
    for (const one of [a, b]) one.dispose();
  });

  test('loaded when it is first needed, where it may wait', async () => {
    here();
    const phases: string[] = [];
    const onProgress = ({ phase }: { phase: string }) => phases.push(phase);
    const reward = await findImageReward('pickscore').load({ ...options, later: true, onProgress });
    expect(phases).toEqual([]);
    expect(reward.bytes).toBeGreaterThan(0);
    await scoreImages(reward, [image(1)], ['a']);
    expect(phases).toContain('load');
    reward.dispose();
  });

  test('a file with its tokenizer beside it', async () => {
    nowhere();
    const folder = MINIATURES.pickscore(join(temporaryFolder(), 'x'));
    const reward = await findImageReward(`pickscore:${join(folder, 'model.safetensors')}`).load(options);
    expect(await scoreImages(reward, [image(1)], ['a cat'])).toHaveLength(1);
    reward.dispose();
  });

  test('the same from a checkpoint of torch.save, as it is published, and from its tensors as safetensors', async () => {
    here();
    const folder = MINIATURES.hpsv2(temporaryFolder());
    rmSync(join(folder, 'HPS_v2_compressed.pt'));
    copyFileSync(join(fixtures, 'clip_h.openclip.safetensors'), join(folder, 'model.safetensors'));
    const scores: number[][] = [];
    for (const name of ['hpsv2', `hpsv2:${folder}`]) {
      const reward = await findImageReward(name).load(options);
      scores.push(await scoreImages(reward, [image(1)], ['a cat']));
      reward.dispose();
    }
    expect(scores[0]).toEqual(scores[1]);
  });

  test('part of a weighted sum', () => {
    here();
    const parts = parseRewards('0.7*pickscore@over-26+0.3*hpsv2.1@no-antialias@fp16');
    expect(parts.map(({ weight, reward }) => [weight, reward.name])).toEqual([
      [0.7, 'pickscore@over-26'],
      [0.3, 'hpsv2.1@no-antialias@fp16'],
    ]);
  });

  test('found in the hub cache, each part where it is', async () => {
    const home = nowhere();
    const folder = MINIATURES.pickscore(temporaryFolder());
    const put = (id: string, files: string[]) => {
      const at = join(home, 'hub', `models--${id.replace('/', '--')}`, 'snapshots', 'main');
      mkdirSync(at, { recursive: true });
      for (const file of files) copyFileSync(join(folder, file), join(at, file));
    };
    put('yuvalkirstain/PickScore_v1', ['model.safetensors', 'config.json']);
    expect(() => findReward('pickscore')).toThrow(/CLIP's tokenizer.*`drm pull pickscore`/);
    put('laion/CLIP-ViT-H-14-laion2B-s32B-b79K', ['vocab.json', 'merges.txt', 'tokenizer_config.json']);
    const reward = await findReward('pickscore').load(options);
    expect(await scoreImages(reward, [image(1)], ['a cat'])).toHaveLength(1);
    reward.dispose();
  });
});

const viewing = {
  ...{ levels: [{ timestep: 0, sigma: 0 }], addNoise: true, draws: 1, seed: 0, posteriorSample: false },
};

describe('the unit of', () => {
  const scored = async (name: string) => {
    here();
    const reward = await findImageReward(name).load(options);
    const [score = Number.NaN] = await scoreImages(reward, [image(3)], ['a cat']);
    reward.dispose();
    return { ...reward, score };
  };

  test('PickScore is e^s times the cosine, and by flow_grpo a 26th of it', async () => {
    const [cosine, raw, over] = [await scored('clip-h'), await scored('pickscore'), await scored('pickscore@over-26')];
    const s = Number(readTensors(join(fixtures, 'clip_h.hf.safetensors')).get('logit_scale')?.data[0]);
    expect(raw.score).toBeCloseTo(Math.exp(s) * cosine.score, 4);
    expect(over.score).toBeCloseTo(raw.score / 26, 10);
    expect([cosine.unit, raw.unit, over.unit]).toEqual(['cosine', 'e^s cosine', 'e^s cosine / 26']);
    expect(new Set([cosine.weights, raw.weights, over.weights]).size).toBe(3);
  });

  test('a half precision is another score, with other weights by name', async () => {
    const [full, half] = [await scored('pickscore'), await scored('pickscore@bf16')];
    expect(half.score).not.toBe(full.score);
    expect(half.score).toBeCloseTo(full.score, -1);
    expect(half.weights).not.toBe(full.weights);
  });
});

describe('prompts', () => {
  test('may be empty', async () => {
    here();
    for (const name of NAMES) {
      const reward = await findImageReward(name).load(options);
      expect(Number.isFinite((await scoreImages(reward, [image(1)], ['']))[0])).toBe(true);
      reward.dispose();
    }
  });

  test('of 1,000 words lose their end, and that is said once', async () => {
    here();
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    const reward = await findImageReward('pickscore').load({ ...options, onWarning });
    const long = `a fox ${'jumps '.repeat(1000)}and the very end`;
    await scoreImages(reward, [image(1), image(2)], [long, `the other ${long}`]);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/^pickscore reads 16 tokens: of "a fox jumps .*…" it does not see ".*umps jumps.*…"/);
    reward.dispose();
  });
});

describe('what is no scorer or not whole', () => {
  test.each([
    ['pikscore', 'USAGE', 'did you mean pickscore?'],
    ['pikscore:x', 'USAGE', 'did you mean pickscore:PATH?'],
    ['pickscore@over26', 'USAGE', 'did you mean pickscore@over-26?'],
    ['hpsv2@over-26', 'USAGE', 'hpsv2@no-antialias'],
    ['judge@fp16', 'USAGE', 'no variants'],
    ['lpips', 'USAGE', '--diversity lpips'],
    ['0.5*judge+0.5*lpips:x', 'USAGE', 'a distance between two'],
    ['pickscore:/nowhere', 'MISSING_WEIGHTS', 'found no /nowhere'],
    ['pickscore', 'MISSING_WEIGHTS', 'run `drm pull pickscore`'],
    ['hps', 'MISSING_WEIGHTS', 'tgxs002/align_sd'],
    ['hpsv2', 'MISSING_WEIGHTS', 'HPS_v2_compressed.pt'],
  ])('%s', (name, code, part) => {
    nowhere();
    expect(() => parseRewards(name)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(part as string) }),
    );
  });

  test('a missing tokenizer is named with its place', () => {
    nowhere();
    const folder = MINIATURES.hpsv2(temporaryFolder());
    rmSync(join(folder, 'vocab.json'));
    expect(() => findReward(`hpsv2:${folder}`)).toThrow(
      /expected CLIP's tokenizer.*openai\/clip-vit-large-patch14.*`drm pull hpsv2`/,
    );
  });

  test("another scorer's file is refused when it is loaded", async () => {
    nowhere();
    const folder = MINIATURES.pickscore(temporaryFolder());
    copyFileSync(join(fixtures, 'clip_l.openai.safetensors'), join(folder, 'model.safetensors'));
    await expect(findImageReward(`pickscore:${folder}`).load(options)).rejects.toMatchObject({
      code: 'KEYS_MISMATCH',
      message: expect.stringContaining('model.safetensors'),
    });
  });
});
