// Real images against their captions: by a space that knows the answer, and by a CLIP folder from the command line.
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Scorer } from '../../binding/index.js';
import type { Features } from '../../binding/types.js';
import { CaptionedSet } from '../../cli/data/prepared/captioned_set.js';
import { retrieveSet } from '../../cli/eval/retrieval.js';
import type { FeatureSpace } from '../../cli/rewards/reward.js';
import { Tokenizer } from '../../cli/text/tokenizer.js';
import { writeClip } from '../rewards/clip_folder.js';
import { runDrm, temporaryFolder } from '../run_drm.js';
import { colours, writeSet } from './small_set.js';

/** Puts images and captions where their colour is, or all captions one colour further. */
function colourSpace(shift = 0): FeatureSpace {
  const features = (rows: number[][]): Features => ({
    values: Float32Array.from(rows.flatMap((row) => row.map((value) => value / Math.hypot(...row)))),
    rows: rows.length,
    width: 3,
  });
  const of = (caption: string) => {
    const i = colours.findIndex((colour) => colour.caption === caption);
    return colours[(i + shift) % colours.length]?.rgb as number[];
  };
  return {
    images: async (images) => features(images.map(({ pixels }) => Array.from(pixels.subarray(0, 3)))),
    captions: async (captions) => features(captions.map(of)),
  };
}

describe('images of a set', () => {
  test('are all found by a space that knows them, none by one that mixes them up', async () => {
    const set = await CaptionedSet.open(await writeSet(join(temporaryFolder(), 'set')));
    const right = await retrieveSet(colourSpace(), set, { among: 256, seed: 0 }, {});
    expect(right).toMatchObject({ among: 12, images: 12, unused: 0 });
    expect([right.top1.mean, right.top5.mean, right.image_of_caption.mean]).toEqual([1, 1, 1]);
    expect(right.cosine.mean).toBeCloseTo(1, 5);
    const wrong = await retrieveSet(colourSpace(1), set, { among: 256, seed: 0 }, {});
    expect([wrong.top1.mean, wrong.image_of_caption.mean]).toEqual([0, 0]);
    await set.close();
  });

  test('are dealt into groups by the seed, which makes the search easier', async () => {
    const set = await CaptionedSet.open(await writeSet(join(temporaryFolder(), 'set')));
    const four = await retrieveSet(colourSpace(1), set, { among: 5, seed: 0 }, {});
    expect(four).toMatchObject({ among: 5, images: 10, unused: 2 });
    expect(await retrieveSet(colourSpace(1), set, { among: 5, seed: 0 }, {})).toEqual(four);
    expect(four.top5.mean).toBe(1);
    await set.close();
  });

  test('of which some share a caption are right when either is found', async () => {
    const twins = [...colours.slice(0, 3), { ...(colours[0] as (typeof colours)[0]) }];
    const set = await CaptionedSet.open(await writeSet(join(temporaryFolder(), 'set'), twins));
    const found = await retrieveSet(colourSpace(), set, { among: 256, seed: 0 }, {});
    expect([found.top1.mean, found.image_of_caption.mean, found.image_of_caption.n]).toEqual([1, 1, 3]);
    await set.close();
  });
});

test('drm eval retrieval prints what its features say', async () => {
  const set = await writeSet(join(temporaryFolder(), 'set'));
  const folder = writeClip(join(temporaryFolder(), 'clip'));
  const { code, stdout, stderr } = await runDrm([
    ...[
      'eval',
      'retrieval',
      '--data',
      set,
      '--split',
      'train',
      '--split',
      'test',
      '--scorer',
      `clip:${folder}`,
      '--json',
    ],
  ]);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const { data, text } = events.find(({ event }) => event === 'result');
  expect(data.map(({ split, images }: Record<string, unknown>) => [split, images])).toEqual([
    ['train', 8],
    ['test', 4],
  ]);
  expect(text.split('\n')).toHaveLength(4);
  for (const line of text.split('\n').slice(1)) expect(line.length).toBeLessThanOrEqual(80);

  const clip = await Scorer.load(
    { kind: 'clip', config: join(folder, 'config.json'), weights: [join(folder, 'model.safetensors')] },
    { device: 'cpu', dtype: 'fp32' },
  );
  const tokenizer = Tokenizer.fromFolder(folder);
  const chosen = colours.slice(8);
  const captions = await clip.textFeatures(
    await Promise.all(chosen.map(async ({ caption }) => (await tokenizer.padded(caption, 24)).ids)),
  );
  const images = await clip.imageFeatures(
    chosen.map(({ rgb }) => ({
      pixels: Uint8Array.from({ length: 32 * 32 * 3 }, (_, at) => rgb[at % 3] as number),
      width: 32,
      height: 32,
    })),
  );
  const near = (i: number, j: number) => {
    let sum = 0;
    for (let k = 0; k < 8; k++) sum += (images.values[8 * i + k] as number) * (captions.values[8 * j + k] as number);
    return sum;
  };
  const hits = [0, 1, 2, 3].filter((i) => [0, 1, 2, 3].every((j) => j === i || near(i, j) < near(i, i)));
  expect(data[1].top1.mean).toBe(hits.length / 4);
  const own = [0, 1, 2, 3].map((i) => near(i, i)).reduce((a, b) => a + b) / 4;
  expect(data[1].cosine.mean).toBeCloseTo(own, 5);
  clip.dispose();
});

describe('drm eval says what it needs', () => {
  test.each([
    [['eval', 'retrieval', '--data', 'x'], 2, '--scorer clip:FOLDER', true],
    [['eval', 'retrieval', '--scorer', 'clip:x'], 2, '--data DIR', false],
    [['eval', 'retrieval', '--data', 'SET', '--scorer', 'clip:nowhere'], 4, 'nowhere', true],
    [['eval', 'retrieval', '--data', 'SET', '--scorer', 'blip:x'], 2, 'clip:FOLDER', true],
    [['eval', 'retrieval', '--data', 'SET', '--scorer', 'clip:x', '--among', '1'], 2, '--among 1', true],
    [['eval', 'images'], 2, 'images', false],
  ])('%j', async (args, expected, part, needsSet) => {
    const set = needsSet ? await writeSet(join(temporaryFolder(), 'set'), colours.slice(0, 2)) : '';
    const { code, stderr } = await runDrm(args.map((arg) => (arg === 'SET' || arg === 'x' ? set || arg : arg)));
    expect(stderr).toContain(part);
    expect(code).toBe(expected);
  });
});
