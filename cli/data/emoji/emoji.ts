// The embedded data set: emoji of three open sets, one image a set and concept, drawn from the SVGs in npm packages.
// What is the same thing across sets is told by its Unicode code points; their names differ here and there. Further
// sets may be added to what is trained on; they change neither concepts nor splits.
import { createHash } from 'node:crypto';
import sharp from 'sharp';
import { Drop } from '../io/drop.js';
import { encodeLossless } from '../io/image.js';
import type { SourceNote } from '../prepared/manifest.js';
import { readIconPackage } from './icon_package.js';

/** The first set that has a concept names it. `style` is the word in captions. */
const SETS = [
  { style: 'noto', name: '@iconify-json/noto' },
  { style: 'twemoji', name: '@iconify-json/twemoji' },
  { style: 'fluent', name: '@iconify-json/fluent-emoji-flat' },
] as const;

/** Training; unseen concepts in all their styles; seen concepts in a style in which training does not see them. */
export const EMOJI_SPLITS = ['train', 'test', 'test-style'] as const;
export type EmojiSplit = (typeof EMOJI_SPLITS)[number];

/** Written down in the manifest; `splitOf` is the code of it. */
export const SPLIT_RULE =
  'h(x) is the first 32 bits of sha256(x). A family is a concept without gender and direction, named by its first ' +
  'member. test: h("concept:" + family) mod 10 = 0. Else, for a concept in two or more styles, h("style:" + concept) ' +
  'mod 5 = 0 puts the image of style number h("which:" + concept) mod (number of styles) into test-style. Else train.';

export interface Emoji {
  set: number;
  /** The package's own name. */
  name: string;
  /** Code points in hexadecimal, without variation selectors. */
  code: string;
  category: string;
  svg: string;
}

/** The first 32 bits of sha256. */
export const hash = (text: string): number => createHash('sha256').update(text).digest().readUInt32BE(0);

const words = (name: string): string => name.replaceAll('-', ' ');

/** The code of a concept's variants: the person neutral, without gender sign and "facing right". They share a split. */
const familyOf = (code: string): string => {
  const [first = '', ...joined] = code.split('-200d-');
  const rest = joined.filter((part) => !/^(2640|2642|27a1)$/.test(part));
  return [first.replace(/^1f46[89]$/, '1f9d1'), ...rest].join('-200d-');
};

export const withoutSelectors = (point: string): string => point.replace(/-?fe0f/g, '');

function readSet(set: number): { emoji: Emoji[]; dropped: Drop[]; note: SourceNote } {
  const { name: packageName } = SETS[set] as (typeof SETS)[number];
  const { note, chars, categoryOf, svgOf } = readIconPackage(packageName, 'npm run setup');
  const emoji = new Map<string, Emoji>();
  const dropped: Drop[] = [];
  for (const [point, name] of Object.entries(chars)) {
    const code = withoutSelectors(point);
    const where = `${packageName} ${name}`;
    if (/1f3f[b-f]/.test(code)) dropped.push(new Drop('skin_tone', where));
    else if (categoryOf(name) === 'Flags') dropped.push(new Drop('flag', where));
    else if (emoji.has(code)) dropped.push(new Drop('duplicate', where));
    else emoji.set(code, { set, name, code, category: categoryOf(name), svg: svgOf(name) });
  }
  return { emoji: [...emoji.values()], dropped, note };
}

export interface Concept {
  name: string;
  category: string;
  family: string;
  emoji: Emoji[];
}

/** What is the same in all sets, in the order of the concepts' names. */
function conceptsOf(all: Emoji[]): Concept[] {
  const byCode = new Map<string, Concept>();
  for (const emoji of all) {
    const known = byCode.get(emoji.code);
    if (known) known.emoji.push(emoji);
    else byCode.set(emoji.code, { name: emoji.name, category: emoji.category, family: '', emoji: [emoji] });
  }
  const concepts = [...byCode].sort(([, a], [, b]) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const familyNames = new Map<string, string>();
  for (const [code, concept] of concepts) {
    const family = familyOf(code);
    if (!familyNames.has(family)) familyNames.set(family, concept.name);
    concept.family = familyNames.get(family) as string;
  }
  return concepts.map(([, concept]) => concept);
}

export const isUnseen = ({ family }: Concept): boolean => hash(`concept:${family}`) % 10 === 0;

export function splitOf(concept: Concept, which: number): EmojiSplit {
  if (isUnseen(concept)) return 'test';
  const styles = concept.emoji.length;
  if (styles > 1 && hash(`style:${concept.name}`) % 5 === 0 && hash(`which:${concept.name}`) % styles === which)
    return 'test-style';
  return 'train';
}

/** All that is in the packages, without drawing anything. */
export function listEmoji(): { notes: SourceNote[]; concepts: Concept[]; dropped: Drop[] } {
  const sets = SETS.map((_, i) => readSet(i));
  return {
    notes: sets.map((set) => set.note),
    concepts: conceptsOf(sets.flatMap((set) => set.emoji)),
    dropped: sets.flatMap((set) => set.dropped),
  };
}

const svgAt = (svg: string, size: number): Buffer =>
  Buffer.from(svg.replace(' SIZE>', ` width="${size}" height="${size}">`));

/**
 * Families of the training split that preferences and reinforcement learning hold out: the base knows them, the reward
 * model and the policy do not learn from them.
 */
export const isHeldOut = (family: string): boolean => hash(`pref:${family}`) % 10 === 0;

/** One image of the set, not drawn yet. */
export interface EmojiImage {
  key: string;
  split: EmojiSplit;
  /** Which of the notes it belongs to. */
  note: number;
  /** The sidecar, but for what the split says. */
  caption: string;
  concept: string;
  family: string;
  category: string;
  style: string;
  code: string;
  name: string;
  svg: string;
}

export const imageOf = (concept: Concept, split: EmojiSplit, style: string, emoji: Emoji): EmojiImage => ({
  key: `${concept.name}_${style}`,
  split,
  note: emoji.set,
  caption: `${words(concept.name)}, ${words(style)} style`,
  concept: words(concept.name),
  family: words(concept.family),
  category: concept.category,
  style,
  code: emoji.code,
  name: emoji.name,
  svg: emoji.svg,
});

/** All images, in the order of the concepts' names. */
export const emojiImages = (concepts: Concept[]): EmojiImage[] =>
  concepts.flatMap((concept) =>
    concept.emoji.map((emoji, which) =>
      imageOf(concept, splitOf(concept, which), (SETS[emoji.set] as (typeof SETS)[number]).style, emoji),
    ),
  );

/** The style that `test-style` holds out of a concept. */
export const unseenStyle = (concept: Concept): string | undefined => {
  const held = concept.emoji.find((_, which) => splitOf(concept, which) === 'test-style');
  return held && SETS[held.set]?.style;
};

/** On white, without loss. */
export async function drawEmoji({ svg }: Pick<EmojiImage, 'svg'>, size: number): Promise<Buffer> {
  const { data, info } = await sharp(svgAt(svg, size))
    .flatten({ background: '#ffffff' })
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  return encodeLossless({ pixels: data, width: info.width, height: info.height });
}
