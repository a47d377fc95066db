// Preferences known by construction: what is paired with what, and the embedded base's own images in them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { distance } from '../../../cli/data/emoji/caption_distance.js';
import { CORRUPTIONS, GRADES } from '../../../cli/data/emoji/corruptions.js';
import { emojiImages, listEmoji } from '../../../cli/data/emoji/emoji.js';
import { emojiPrefsSource } from '../../../cli/data/emoji/emoji_prefs.js';
import { gradeOfGap, type Likeness } from '../../../cli/data/emoji/likeness.js';
import type { Wish } from '../../../cli/data/emoji/painter.js';
import type { PrefsOptions } from '../../../cli/data/emoji/prefs_planner.js';
import { worseRecipe } from '../../../cli/data/emoji/prefs_recipes.js';
import { PREFS_SPLITS, prefsSplitOf } from '../../../cli/data/emoji/prefs_splits.js';
import { Drop } from '../../../cli/data/io/drop.js';
import { decodeImage } from '../../../cli/data/io/image.js';
import { readManifest } from '../../../cli/data/prepared/manifest.js';
import { type PairRecord, PairSet } from '../../../cli/data/prepared/pair_set.js';
import { prepare } from '../../../cli/data/prepared/prepare.js';
import { repository, runDrm, temporaryFolder } from '../../run_drm.js';
import { contentOf } from '../images.js';

const newFolder = () => join(temporaryFolder(), 'set');
const emoji = emojiImages(listEmoji().concepts);
const named = (key: string) => emoji.find((image) => image.key === key) as (typeof emoji)[number];

const options: PrefsOptions = {
  size: 16,
  seed: 4,
  split: 'all',
  maxPairs: 2880,
  steps: 28,
  guidance: 3,
  models: ['base', 'base at 5000', 'base at 1000'].map((name) => ({ name, fingerprint: name })),
  dtype: 'fp32',
  t5Length: 0,
};

/** A base whose images say what was wished for. */
function painter() {
  const wished: Wish[] = [];
  const paint = async (wishes: Wish[]) => {
    wished.push(...wishes);
    return wishes.map(({ prompt, seed, steps, guidance, model }) => {
      const bytes = Buffer.from(`${model} ${steps} ${guidance} ${seed} ${prompt}`);
      return { pixels: Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => bytes[i] ?? 0), width: 16, height: 16 };
    });
  };
  return { paint, wished };
}

/** Of what the painter drew: a function of the seed, and the same for some. */
const likenessOf = (seed: number) => (seed % 8) ** 2 / 400;
const likeness: Likeness = async (drawn) =>
  drawn.map(({ pixels }) => likenessOf(Number(Buffer.from(pixels).toString('latin1').split(' ')[3])));

const write = (folder: string, given: Partial<PrefsOptions>, paint = painter().paint, stopAfter = 1e9) => {
  const stop = new AbortController();
  return prepare(emojiPrefsSource({ ...options, ...given }, paint, likeness), folder, {
    limits: { bytes: 1e9, samples: 40 },
    signal: stop.signal,
    onProgress: (done) => {
      if (done >= stopAfter) stop.abort();
    },
    onDrop: () => {},
  });
};

let folder: string;
let set: PairSet;
let pairs: PairRecord[];
let wished: Wish[];
beforeAll(async () => {
  folder = newFolder();
  const base = painter();
  wished = base.wished;
  await write(folder, {}, base.paint);
  set = await PairSet.open(folder);
  pairs = [];
  for (let i = 0; i < set.length; i++) pairs.push(await set.record(i));
}, 60_000);
afterAll(() => set.close());

const idOf = (pair: PairRecord, side: 'chosen' | 'rejected') => set.imageId(pair[side]);
const ofKind = (kind: string) => pairs.filter((pair) => pair.kind === kind);

test('every kind in every grade; the captions of all splits, a fair share of each', () => {
  const kinds = [...CORRUPTIONS, 'caption', 'sample', 'sampler', 'sample-caption', 'own', 'checkpoint'];
  expect(new Set(pairs.map(({ kind }) => kind))).toEqual(new Set(kinds));
  for (const kind of [...CORRUPTIONS, 'caption', 'sample', 'sampler', 'own'])
    expect([kind, new Set(ofKind(kind).map(({ grade }) => grade))]).toEqual([kind, new Set(GRADES)]);
  const { splits, kept, dropped, records } = readManifest(folder);
  expect(kept).toBe(set.length);
  expect(kept).toBeGreaterThan(2600);
  expect(kept).toBeLessThanOrEqual(2880);
  expect(records).toBe(kept + (dropped.no_other_caption ?? 0) + (dropped.no_difference ?? 0));
  const share = (name: string) => (splits[name] ?? 0) / emoji.filter((one) => prefsSplitOf(one) === name).length;
  for (const name of PREFS_SPLITS) expect(share(name) / share('train')).toBeCloseTo(1, 0);
});

test('all styles and variants of a concept are on one side of training and test', () => {
  const sides = new Map<string, Set<boolean>>();
  const count = { train: 0, test: 0, 'test-base': 0, 'test-style': 0 };
  for (const one of emoji) {
    const split = prefsSplitOf(one);
    count[split] += 1;
    if (split !== 'test-style') sides.set(one.family, (sides.get(one.family) ?? new Set()).add(split === 'train'));
    if (split === 'test-base') expect(one.split).toBe('test');
    if (split === 'test') expect(one.split).toBe('train');
  }
  for (const [family, trained] of sides) expect([family, trained.size]).toEqual([family, 1]);
  // Frozen: what was trained on one side must never be tested on the other.
  expect(count).toEqual({ train: 3812, test: 392, 'test-base': 458, 'test-style': 277 });
});

test('no pair of a split shows what another split is about', () => {
  const splitOf = new Map(emoji.map((one) => [one.caption, prefsSplitOf(one)]));
  const byKey = new Map(emoji.map((image) => [image.key, image]));
  for (const pair of pairs) {
    expect(splitOf.get(pair.prompt)).toBe(pair.split);
    for (const side of ['chosen', 'rejected'] as const) {
      const [subject = ''] = idOf(pair, side).split(' / ');
      const real = byKey.get(subject);
      expect(real ? prefsSplitOf(real) : splitOf.get(subject)).toBe(pair.split);
    }
  }
});

test('chosen is the image of the caption, or the base’s by its best settings; rejected is never that, but for own', () => {
  for (const pair of pairs) {
    const [chosen, rejected] = [idOf(pair, 'chosen'), idOf(pair, 'rejected')];
    expect(chosen).not.toBe(rejected);
    const own = named(pair.prompt.replace(/, (\w+) style$/, '_$1').replaceAll(' ', '-'));
    expect(own.caption).toBe(pair.prompt);
    const real = !/^(sampler|sample-caption|own|checkpoint)$/.test(String(pair.kind));
    if (real) expect(chosen).toBe(own.key);
    else expect(chosen).toMatch(`${pair.prompt} / base, 28 steps, guidance 3, seed `);
    expect(pair.chosen_model).toBe(real ? 'real' : 'base, 28 steps, guidance 3');
    if (pair.kind === 'sample') expect(rejected).toMatch(`${pair.prompt} / base, `);
    if (pair.kind === 'sampler') expect(rejected).not.toMatch('28 steps, guidance 3,');
    if (pair.kind === 'sample-caption') expect(rejected).toMatch(/ \/ base, 28 steps, guidance 3, seed /);
    if (pair.kind === 'sample-caption') expect(rejected.startsWith(pair.prompt)).toBe(false);
    if (pair.kind === 'own') expect(rejected).toMatch(`${pair.prompt} / base, 28 steps, guidance 3, seed `);
    if (pair.kind === 'checkpoint')
      expect(rejected).toBe(chosen.replace(' / base,', pair.grade === 1 ? ' / base at 5000,' : ' / base at 1000,'));
    if (CORRUPTIONS.includes(pair.kind as never)) expect(rejected).toBe(`${own.key} / ${pair.kind} ${pair.grade}`);
  }
});

test('own: every two images of a caption, the one more like the real one first; those that are alike are left out', () => {
  const seedsOf = new Map<string, number[]>();
  for (const { prompt, seed, ...recipe } of wished)
    if (JSON.stringify(recipe) === JSON.stringify({ model: 0, steps: 28, guidance: 3, noise: 0 }))
      seedsOf.set(prompt, [...(seedsOf.get(prompt) ?? []), seed]);
  const found = new Map<string, string[]>();
  for (const pair of ofKind('own')) {
    const [chosen, rejected] = [idOf(pair, 'chosen'), idOf(pair, 'rejected')].map((id) => Number(id.split('seed ')[1]));
    const gap = likenessOf(chosen as number) - likenessOf(rejected as number);
    expect(gap).toBeGreaterThan(0);
    expect([gap, pair.grade]).toEqual([gap, gradeOfGap(gap)]);
    found.set(pair.prompt, [...(found.get(pair.prompt) ?? []), `${chosen} ${rejected}`]);
  }
  let alike = 0;
  for (const prompt of new Set(pairs.map((pair) => pair.prompt))) {
    const seeds = (seedsOf.get(prompt) as number[]).slice(0, 4);
    const wanted = seeds.flatMap((a) => seeds.filter((b) => likenessOf(a) > likenessOf(b)).map((b) => `${a} ${b}`));
    expect(found.get(prompt)?.sort()).toEqual(wanted.sort());
    alike += 6 - wanted.length;
  }
  expect(alike).toBeGreaterThan(0);
  expect(readManifest(folder).dropped.no_difference).toBe(alike);
});

test('without something to order them by there are no own pairs, and the others are the same', async () => {
  const out = newFolder();
  const source = emojiPrefsSource({ ...options, split: 'test', maxPairs: 120 }, painter().paint);
  await prepare(source, out, {
    limits: { bytes: 1e9, samples: 1e9 },
    signal: new AbortController().signal,
    onProgress: () => {},
    onDrop: () => {},
  });
  const plain = await PairSet.open(out);
  const told = ({ kind, grade, prompt, chosen, rejected }: PairRecord, of: PairSet) =>
    [kind, grade, prompt, of.imageId(chosen), of.imageId(rejected)].join(' | ');
  const known = new Set(pairs.map((pair) => told(pair, set)));
  for (let i = 0; i < plain.length; i++) {
    const record = await plain.record(i);
    expect(record.kind).not.toBe('own');
    // A wrong caption's image depends on which captions there are.
    if (record.kind !== 'sample-caption') expect(known).toContain(told(record, plain));
  }
  await plain.close();
});

test('a wrong caption is the more wrong the higher the grade, and never a variant of the same thing', () => {
  const apple = named('red-apple_noto');
  expect(distance(apple, apple)).toBeUndefined();
  expect(distance(apple, named('red-apple_twemoji'))).toBe(1);
  expect(distance(apple, named('green-apple_noto'))).toBe(2);
  expect(distance(apple, named('banana_noto'))).toBe(3);
  expect(distance(apple, named('rocket_noto'))).toBe(4);
  expect(distance(apple, named('rocket_twemoji'))).toBe(5);
  expect(distance(named('woman-artist_noto'), named('man-artist_noto'))).toBeUndefined();
  const byKey = new Map(emoji.map((image) => [image.key, image]));
  for (const pair of ofKind('caption')) {
    const [right, wrong] = [byKey.get(idOf(pair, 'chosen')), byKey.get(idOf(pair, 'rejected'))];
    expect(right && wrong && distance(right, wrong)).toBe(pair.grade);
  }
});

test('worse settings are worse in steps, and in guidance one way or the other', () => {
  const best = { model: 0, steps: 28, guidance: 3, noise: 0 };
  for (const much of [false, true]) {
    const recipes = GRADES.map((grade) => worseRecipe(best, grade, much));
    const steps = [best, ...recipes].map((recipe) => recipe.steps);
    expect(steps).toEqual([...new Set(steps)].sort((a, b) => b - a));
    for (const { guidance } of recipes) expect(much ? guidance > 5 : guidance < 3).toBe(true);
  }
  expect(worseRecipe({ ...best, steps: 1 }, 5, false).steps).toBe(1);
});

test('the base’s images are those that were wished for, each drawn once', async () => {
  expect(new Set(wished.map((wish) => JSON.stringify(wish))).size).toBe(wished.length);
  for (const pair of pairs.filter(({ kind }) => kind === 'sampler').slice(0, 50)) {
    const image = await decodeImage(await set.image(pair.rejected));
    if (image instanceof Drop) throw new Error(image.detail);
    const [, model = '', steps, guidance, seed] =
      / \/ (.+), (\d+) steps, guidance ([\d.]+), seed (\d+)$/.exec(idOf(pair, 'rejected')) ?? [];
    expect(Buffer.from(image.pixels).toString('latin1')).toContain(`0 ${steps} ${guidance} ${seed} ${pair.prompt}`);
    expect(model).toBe('base');
  }
});

test('stopped and begun again: byte for byte the same, and nothing drawn for what is done', async () => {
  const out = newFolder();
  const first = painter();
  await expect(write(out, {}, first.paint, 1200)).rejects.toMatchObject({ code: 'CANCELLED' });
  const second = painter();
  await write(out, {}, second.paint);
  expect(contentOf(out)).toEqual(contentOf(folder));
  expect(second.wished.length).toBeLessThan(0.7 * wished.length);
}, 60_000);

test('another seed pairs otherwise; no such split is said', async () => {
  const out = newFolder();
  await write(out, { seed: 5, maxPairs: 300 });
  const other = await PairSet.open(out, { split: 'test' });
  expect((await other.record(0)).prompt).not.toBe(pairs.find(({ split }) => split === 'test')?.prompt);
  await other.close();
  expect(() => emojiPrefsSource({ ...options, split: 'all of them' }, painter().paint)).toThrow(
    '--split all of them: expected all, train, test, test-base, test-style',
  );
});

test('with the embedded model: drawn by it, the same again, its settings and licences told', async () => {
  const command = ['data', 'prepare', 'emoji-prefs', '--max-pairs', '60', '--split', 'test', '--threads', '1'];
  const out = newFolder();
  const { code, stdout, stderr } = await runDrm([...command, '--out', out]);
  expect([code, stderr.includes('kept 60')]).toEqual([0, true]);
  expect(stdout.trim()).toBe(out);
  const { settings, sources } = readManifest(out);
  expect(settings).toMatchObject({ source: 'emoji-prefs', steps: 28, guidance: 3, max_pairs: 60 });
  expect(settings.models).toEqual([{ name: 'tiny', fingerprint: expect.stringMatching(/^[0-9a-f]{32}$/) }]);
  const text = readFileSync(join(out, 'ATTRIBUTION.md'), 'utf8');
  for (const { name, licence } of sources) expect(text).toMatch(new RegExp(`${name} .*${licence}`));
  const drawn = await PairSet.open(out);
  for (let i = 0; i < drawn.length; i++) {
    const record = await drawn.record(i);
    const image = await decodeImage(await drawn.image(record.rejected));
    expect(image).toMatchObject({ width: 64, height: 64 });
  }
  await drawn.close();
  const again = newFolder();
  await runDrm([...command, '--out', again]);
  expect(contentOf(again)).toEqual(contentOf(out));

  // With a CLIP there are own pairs, too; the judge, since nothing is trained on these.
  const judge = `clip:${join(repository, 'models/judge')}`;
  const ordered = newFolder();
  await runDrm([...command, '--scorer', judge, '--out', ordered]);
  const manifest = readManifest(ordered);
  expect(manifest.settings.scorer).toEqual({ name: judge, fingerprint: expect.stringMatching(/^[0-9a-f]{32}$/) });
  const withOwn = await PairSet.open(ordered);
  const kinds = await Promise.all(
    Array.from({ length: withOwn.length }, async (_, i) => (await withOwn.record(i)).kind),
  );
  await withOwn.close();
  expect(kinds.filter((kind) => kind === 'own').length).toBe(6 * Math.floor(kinds.length / 16));
  const noScorer = await runDrm([...command, '--scorer', 'clipp:nowhere', '--out', newFolder()]);
  expect([noScorer.code, noScorer.stderr.includes('did you mean clip:FOLDER?')]).toEqual([2, true]);

  const unknown = await runDrm([...command, '--model', 'tinny', '--out', newFolder()]);
  expect(unknown.code).toBe(3);
  expect(unknown.stderr).toContain('did you mean tiny?');
}, 120_000);
