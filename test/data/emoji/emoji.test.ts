// The embedded set: what is the same in three packages, how it is split, and what is prepared from it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { type Concept, type EmojiImage, emojiImages, listEmoji, splitOf } from '../../../cli/data/emoji/emoji.js';
import { emojiSource } from '../../../cli/data/emoji/emoji_source.js';
import { FURTHER_STYLES, furtherImages } from '../../../cli/data/emoji/further_emoji.js';
import { prefsSplitOf } from '../../../cli/data/emoji/prefs_splits.js';
import { CaptionedSet } from '../../../cli/data/prepared/captioned_set.js';
import { readManifest } from '../../../cli/data/prepared/manifest.js';
import { repository, runDrm, temporaryFolder } from '../../run_drm.js';
import { contentOf } from '../images.js';

const newFolder = () => join(temporaryFolder(), 'set');

let concepts: Concept[];
beforeAll(() => {
  concepts = listEmoji().concepts;
});

test('concepts are found across the sets by code, whatever each calls them', () => {
  const named = (name: string) => concepts.filter((concept) => concept.name === name);
  expect(new Set(concepts.map(({ name }) => name)).size).toBe(concepts.length);
  expect(named('pinata')[0]?.emoji.map(({ name }) => name)).toEqual(['pinata', 'pinata', 'piata']);
  expect(named('smiling-face-with-open-hands')[0]?.emoji.map(({ name }) => name)).toContain('hugging-face');
  expect(named('hugging-face')).toEqual([]);
  const images = concepts.reduce((sum, { emoji }) => sum + emoji.length, 0);
  expect(images).toBeGreaterThan(4900);
  expect(concepts.filter(({ emoji }) => emoji.length === 3).length).toBeGreaterThan(1500);
  for (const { emoji } of concepts) expect(new Set(emoji.map(({ set }) => set)).size).toBe(emoji.length);
});

test('no skin tones and no flags', () => {
  for (const { name, category, emoji } of concepts) {
    expect(name).not.toMatch(/skin-tone/);
    expect(category).not.toBe('Flags');
    for (const { code } of emoji) expect(code).not.toMatch(/1f3f[b-f]|^1f1[ef][0-9a-f]-/);
  }
});

test('all styles of a concept, and all its variants, are on one side', () => {
  const sides = new Map<string, Set<boolean>>();
  const count = { train: 0, test: 0, 'test-style': 0 };
  for (const concept of concepts) {
    const splits = concept.emoji.map((_, which) => splitOf(concept, which));
    for (const split of splits) {
      count[split] += 1;
      sides.set(concept.family, (sides.get(concept.family) ?? new Set()).add(split === 'test'));
    }
    // An unseen style is that of a concept which training sees in another.
    if (splits.includes('test-style'))
      expect(splits.filter((split) => split === 'train').length).toBe(splits.length - 1);
    if (splits.includes('test-style')) expect(splits.length).toBeGreaterThan(1);
  }
  for (const [family, tested] of sides) expect([family, tested.size]).toEqual([family, 1]);
  const familyOf = (name: string) => concepts.find((concept) => concept.name === name)?.family;
  expect(familyOf('woman-artist')).toBe(familyOf('artist'));
  expect(familyOf('man-running-facing-right')).toBe(familyOf('woman-running'));
  expect(familyOf('female-sign')).not.toBe(familyOf('male-sign'));
  // Frozen: what was trained on one side must never be tested on the other.
  expect(count).toEqual({ train: 4204, test: 458, 'test-style': 277 });
});

test('prepared: licences with every image, prompt lists, the same bytes again', async () => {
  const out = newFolder();
  const emoji = ['data', 'prepare', 'emoji', '--split', 'test', '--size', '16', '--out'];
  const { code, stdout } = await runDrm([...emoji, out, '--json']);
  expect(code).toBe(0);
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; data?: { kept: number } });
  expect(events.map(({ event }) => event)).toEqual(expect.arrayContaining(['started', 'progress', 'result', 'done']));
  const manifest = readManifest(out);
  expect(manifest.records).toBe(manifest.kept + Object.values(manifest.dropped).reduce((sum, n) => sum + n, 0));
  expect(manifest.sources.map((source) => source.licence)).toEqual(['Apache-2.0', 'CC-BY-4.0', 'MIT']);
  expect(manifest.dropped.skin_tone).toBeGreaterThan(5000);
  const set = await CaptionedSet.open(out);
  const metas = await Promise.all(Array.from({ length: set.length }, (_, i) => set.meta(i)));
  await set.close();
  for (const { caption, concept, style, licence, category } of metas) {
    expect(caption).toBe(`${concept}, ${style} style`);
    expect(licence).toMatch(/^(Apache-2.0|CC-BY-4.0|MIT)$/);
    expect(category).not.toBe('Flags');
  }
  expect(metas.some(({ caption }) => /skin tone|, .*, /.test(String(caption)))).toBe(false);
  const attribution = readFileSync(join(out, 'ATTRIBUTION.md'), 'utf8');
  for (const source of manifest.sources)
    expect(attribution).toContain(`${source.name} ${source.version}: by ${source.author}`);
  const prompts = readFileSync(join(out, 'prompts/test.txt'), 'utf8').trim().split('\n');
  expect(prompts.length).toBe(256);
  expect(prompts.every((prompt) => metas.some(({ caption }) => caption === prompt))).toBe(true);

  const again = newFolder();
  await runDrm([...emoji, again]);
  expect(contentOf(again)).toEqual(contentOf(out));
});

test("the embedded model's prompts are those that a preparation writes; no family is in both lists", () => {
  const source = emojiSource(64, 'all');
  const lists = ['train', 'test'].map((which) => {
    const text = readFileSync(join(repository, `models/tiny/prompts/${which}.txt`), 'utf8');
    expect(source.extras.find(({ name }) => name === `prompts/rl/${which}.txt`)?.text).toBe(text);
    return text.trim().split('\n');
  });
  const images = new Map(emojiImages(concepts).map((image) => [image.caption, image]));
  const [train, held] = lists.map((list) => list.map((caption) => images.get(caption) as EmojiImage));
  expect([...(train ?? []), ...(held ?? [])].every(({ split }) => split === 'train')).toBe(true); // the base knows them
  const families = new Set(train?.map(({ family }) => family));
  expect(held?.filter(({ family }) => families.has(family))).toEqual([]);
  // Nor does the reward model's training know them.
  expect(held?.every((image) => prefsSplitOf(image) === 'test')).toBe(true);
});

test('further styles add to what is trained on, and to nothing else', async () => {
  const { images, notes, dropped } = furtherImages(concepts, FURTHER_STYLES, 3);
  const first = emojiImages(concepts);
  expect(new Set([...first, ...images].map(({ key }) => key)).size).toBe(first.length + images.length);
  const unseen = new Set(first.filter(({ split }) => split === 'test').map(({ family }) => family));
  const known = new Set(first.map(({ concept }) => concept));
  for (const { split, family, concept } of images)
    expect([split, unseen.has(family), known.has(concept)]).toEqual(['train', false, true]);
  const of = (style: string) => images.filter((image) => image.style === style);
  expect(FURTHER_STYLES.map((style) => of(style).length > 400)).toEqual([true, true, true, true, true]);
  const unseenStyles = new Set(first.filter(({ split }) => split === 'test-style').map(({ key }) => key));
  expect(of('noto-v1').filter(({ key }) => unseenStyles.has(key.replace('-v1', '')))).toEqual([]);
  expect(dropped.filter(({ reason }) => reason === 'unseen_style').length).toBeGreaterThan(50);
  expect(of('fxemoji').find(({ name }) => name === 'spiralshell')?.caption).toBe('spiral shell, fxemoji style'); // no code points
  expect(notes.map(({ licence }) => licence)).toEqual([
    ...['CC-BY-SA-4.0', 'CC-BY-4.0', 'CC-BY-SA-4.0', 'Apache-2.0', 'Apache-2.0'],
  ]);
  expect(dropped.filter(({ reason }) => reason === 'unseen_concept').length).toBeGreaterThan(100);

  const plain = emojiSource(16, 'all');
  const source = emojiSource(16, 'all', ['fxemoji']);
  expect(source.extras.slice(1)).toEqual(plain.extras.slice(1)); // the prompt lists
  expect(source.extras[0]?.text).toContain('@iconify-json/fxemoji');

  const out = newFolder();
  const more = await runDrm(['data', 'prepare', 'emoji', '--also', 'fxemoji', '--split', 'test-style', '--out', out]);
  expect([more.code, readManifest(out).kept]).toEqual([0, 277]);
  const wrong = await runDrm(['data', 'prepare', 'emoji', '--also', 'comic', '--out', newFolder()]);
  expect([wrong.code, wrong.stderr]).toEqual([
    2,
    expect.stringContaining('--also comic: expected openmoji, emojione,'),
  ]);
});
