// The embedded data set: emoji of three open sets, one picture a set and concept, drawn from the SVGs in npm packages.
// What is the same thing across sets is told by its Unicode code points; their names differ here and there. Further
// sets may be added to what is trained on; they change neither concepts nor splits.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import sharp from 'sharp';
import { DrmError } from '../../binding/error.js';
import type { SourceNote } from './manifest.js';
import { encodeLossless } from './picture.js';
import { Drop, type Planned, type Source } from './source.js';

const require = createRequire(import.meta.url);

/** The first set that has a concept names it. `style` is the word in captions. */
const SETS = [
  { style: 'noto', name: '@iconify-json/noto' },
  { style: 'twemoji', name: '@iconify-json/twemoji' },
  { style: 'fluent', name: '@iconify-json/fluent-emoji-flat' },
] as const;

/**
 * More pictures of what training sees already, for `--also`. An older edition of one of `SETS` all but shows what
 * `test-style` holds out of that one, and leaves it out, too.
 */
const FURTHER_SETS: readonly { style: string; name: string; editionOf?: string }[] = [
  { style: 'openmoji', name: '@iconify-json/openmoji' },
  { style: 'emojione', name: '@iconify-json/emojione' },
  { style: 'emojione-v1', name: '@iconify-json/emojione-v1' },
  { style: 'fxemoji', name: '@iconify-json/fxemoji' },
  { style: 'noto-v1', name: '@iconify-json/noto-v1', editionOf: 'noto' },
];
export const FURTHER_STYLES: readonly string[] = FURTHER_SETS.map(({ style }) => style);

/** Training; unseen concepts in all their styles; seen concepts in a style in which training does not see them. */
export const EMOJI_SPLITS = ['train', 'test', 'test-style'] as const;
type Split = (typeof EMOJI_SPLITS)[number];

/** Written down in the manifest; `splitOf` is the code of it. */
export const SPLIT_RULE =
  'h(x) is the first 32 bits of sha256(x). A family is a concept without gender and direction, named by its first ' +
  'member. test: h("concept:" + family) mod 10 = 0. Else, for a concept in two or more styles, h("style:" + concept) ' +
  'mod 5 = 0 puts the picture of style number h("which:" + concept) mod (number of styles) into test-style. Else train.';

interface Icon {
  body: string;
  width?: number;
  height?: number;
  left?: number;
  top?: number;
  hidden?: boolean;
}

interface Alias {
  parent: string;
  hFlip?: boolean;
}

interface IconSet {
  icons: Record<string, Icon>;
  aliases?: Record<string, Alias>;
  width: number;
  height: number;
}

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

interface Package {
  note: SourceNote;
  /** Code points, with variation selectors, to names; empty in some packages. */
  chars: Record<string, string>;
  /** Of the pictures that have a name, aliases' too. */
  names: string[];
  categoryOf(name: string): string;
  /** @throws ENVIRONMENT if the package has no such picture. */
  svgOf(name: string): string;
}

function readPackage(packageName: string, install: string): Package {
  const read = <T>(file: string): T => {
    try {
      return JSON.parse(readFileSync(require.resolve(`${packageName}/${file}`), 'utf8')) as T;
    } catch (error) {
      const [why] = (error as Error).message.split('\n');
      throw new DrmError(
        'ENVIRONMENT',
        `[data] expected the npm package ${packageName}, which cannot be read (${why}); run \`${install}\``,
      );
    }
  };
  const { icons, aliases = {}, width, height } = read<IconSet>('icons.json');
  const { categories } = read<{ categories: Record<string, string[]> }>('metadata.json');
  const info = read<{ author: { name: string; url: string }; license: { spdx: string; url: string } }>('info.json');
  const category = new Map(Object.entries(categories).flatMap(([key, names]) => names.map((name) => [name, key])));
  return {
    note: {
      name: packageName,
      version: read<{ version: string }>('package.json').version,
      author: info.author.name,
      url: info.author.url,
      licence: info.license.spdx,
      licence_url: info.license.url,
    },
    chars: read<Record<string, string>>('chars.json'),
    names: [...Object.keys(icons), ...Object.keys(aliases)],
    categoryOf: (name) => category.get(name) ?? '',
    svgOf: (name) => {
      const alias = icons[name] ? undefined : aliases[name];
      const icon = icons[alias?.parent ?? name];
      if (!icon)
        throw new DrmError(
          'ENVIRONMENT',
          `[data] ${packageName} ${name}: expected a picture of that name, found none; run \`${install}\``,
        );
      const own = { width: icon.width ?? width, height: icon.height ?? height };
      const box = `${icon.left ?? 0} ${icon.top ?? 0} ${own.width} ${own.height}`;
      const body = alias?.hFlip ? `<g transform="translate(${own.width} 0) scale(-1 1)">${icon.body}</g>` : icon.body;
      const svg = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="${box}"`;
      return `${svg} SIZE>${body}</svg>`;
    },
  };
}

const withoutSelectors = (point: string): string => point.replace(/-?fe0f/g, '');

function readSet(set: number): { emoji: Emoji[]; dropped: Drop[]; note: SourceNote } {
  const { name: packageName } = SETS[set] as (typeof SETS)[number];
  const { note, chars, categoryOf, svgOf } = readPackage(packageName, 'npm run setup');
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

const isUnseen = ({ family }: Concept): boolean => hash(`concept:${family}`) % 10 === 0;

export function splitOf(concept: Concept, which: number): Split {
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

/** `count` captions in an order that is chance, and the same on every machine: any first part is a fair choice. */
function shuffledList(captions: string[], count: number): string {
  const order = [...captions].sort((a, b) => hash(`prompt:${a}`) - hash(`prompt:${b}`));
  return `${order.slice(0, count).join('\n')}\n`;
}

/** For reinforcement learning: what it trains on, and what it is judged on. */
const RL_PROMPTS = { train: 1024, test: 256 };

/** `count` captions of a split, chosen by hash: the same ones on every machine. */
function promptList(captions: string[], count: number): string {
  const chosen = new Set([...captions].sort((a, b) => hash(`prompt:${a}`) - hash(`prompt:${b}`)).slice(0, count));
  return `${captions.filter((caption) => chosen.has(caption)).join('\n')}\n`;
}

function attribution(notes: SourceNote[], size: number): string {
  return [
    '# Sources and licences of these pictures',
    '',
    `Drawn from SVG at ${size}×${size} pixels on white by \`drm data prepare emoji\`; not changed otherwise.`,
    'Captions are made of the names in the packages. Each sample names its source and licence in its JSON file.',
    '',
    ...notes.flatMap((note) => [
      `- ${note.name} ${note.version}: by ${note.author} (${note.url}), licence ${note.licence} (${note.licence_url})`,
    ]),
    '',
  ].join('\n');
}

/** One picture of the set, not drawn yet. */
export interface EmojiPicture {
  key: string;
  split: Split;
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

const pictureOf = (concept: Concept, split: Split, note: number, style: string, emoji: Emoji): EmojiPicture => ({
  key: `${concept.name}_${style}`,
  split,
  note,
  caption: `${words(concept.name)}, ${words(style)} style`,
  concept: words(concept.name),
  family: words(concept.family),
  category: concept.category,
  style,
  code: emoji.code,
  name: emoji.name,
  svg: emoji.svg,
});

/** All pictures, in the order of the concepts' names. */
export const emojiPictures = (concepts: Concept[]): EmojiPicture[] =>
  concepts.flatMap((concept) =>
    concept.emoji.map((emoji, which) =>
      pictureOf(concept, splitOf(concept, which), emoji.set, (SETS[emoji.set] as (typeof SETS)[number]).style, emoji),
    ),
  );

/** The style that `test-style` holds out of a concept. */
const unseenStyle = (concept: Concept): string | undefined => {
  const held = concept.emoji.find((_, which) => splitOf(concept, which) === 'test-style');
  return held && SETS[held.set]?.style;
};

/**
 * Pictures of concepts that training sees already, in further styles: told by code points where the package has them,
 * else by the name, with or without hyphens, that a set of the first three has for the concept. All are of `train`.
 *
 * @param styles Of `FURTHER_STYLES`.
 * @param note What notes of theirs are counted from.
 */
export function furtherPictures(
  concepts: Concept[],
  styles: readonly string[],
  note: number,
): { notes: SourceNote[]; pictures: EmojiPicture[]; dropped: Drop[] } {
  const byCode = new Map<string, Concept>();
  const byName = new Map<string, Concept>();
  for (const concept of concepts)
    for (const { code, name } of concept.emoji) {
      byCode.set(code, concept);
      byName.set(name.replaceAll('-', ''), concept);
    }
  const notes: SourceNote[] = [];
  const pictures: EmojiPicture[] = [];
  const dropped: Drop[] = [];
  for (const { style, name: packageName, editionOf } of FURTHER_SETS.filter(({ style }) => styles.includes(style))) {
    const { note: source, chars, names, svgOf } = readPackage(packageName, `npm install --no-save ${packageName}`);
    const coded = Object.entries(chars).map(([point, name]) => ({
      name,
      concept: byCode.get(withoutSelectors(point)),
    }));
    const listed =
      coded.length > 0 ? coded : names.map((name) => ({ name, concept: byName.get(name.replaceAll('-', '')) }));
    const seen = new Set<Concept>();
    for (const { name, concept } of listed) {
      const where = `${packageName} ${name}`;
      if (!concept) dropped.push(new Drop('not_a_concept', where));
      else if (seen.has(concept)) dropped.push(new Drop('duplicate', where));
      else if (isUnseen(concept)) dropped.push(new Drop('unseen_concept', where));
      else if (editionOf !== undefined && unseenStyle(concept) === editionOf)
        dropped.push(new Drop('unseen_style', where));
      else {
        seen.add(concept);
        const emoji = {
          set: note + notes.length,
          name,
          code: concept.emoji[0]?.code ?? '',
          category: '',
          svg: svgOf(name),
        };
        pictures.push(pictureOf(concept, 'train', emoji.set, style, emoji));
      }
    }
    notes.push(source);
  }
  return { notes, pictures, dropped };
}

/** On white, without loss. */
export async function drawEmoji({ svg }: Pick<EmojiPicture, 'svg'>, size: number): Promise<Buffer> {
  const { data, info } = await sharp(svgAt(svg, size))
    .flatten({ background: '#ffffff' })
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  return encodeLossless({ pixels: data, width: info.width, height: info.height });
}

/** @param also Of `FURTHER_STYLES`: more pictures to train on. The prompt lists do not know of them. */
export function emojiSource(size: number, only: Split | 'all', also: readonly string[] = []): Source {
  const { notes: first, concepts, dropped } = listEmoji();
  const further = furtherPictures(concepts, also, first.length);
  const notes = [...first, ...further.notes];
  const captions: Record<Split, string[]> = { train: [], test: [], 'test-style': [] };
  const rl: Record<keyof typeof RL_PROMPTS, string[]> = { train: [], test: [] };
  const left = [...dropped, ...further.dropped];
  const records: Planned[] = [];
  for (const picture of [...emojiPictures(concepts), ...further.pictures]) {
    const { key, split, note, caption, concept, family, category, style, code, name } = picture;
    if (only !== 'all' && split !== only) {
      left.push(new Drop('other_split', key));
      continue;
    }
    if (note < first.length) {
      captions[split].push(caption);
      if (split === 'train') rl[isHeldOut(family) ? 'test' : 'train'].push(caption);
    }
    const make = async () => {
      const { name: source, licence } = notes[note] as SourceNote;
      const json = { caption, concept, family, category, style, code, name, source, licence, split };
      return { key, files: [{ extension: 'webp', bytes: await drawEmoji(picture, size) }], json };
    };
    records.push({ split, note, make });
  }
  return {
    kind: 'captions',
    notes,
    settings: {
      source: 'emoji',
      size,
      split: only,
      split_rule: SPLIT_RULE,
      packages: notes.map((note) => `${note.name} ${note.version}`),
    },
    total: left.length + records.length,
    records: () => [...left, ...records],
    extras: [
      { name: 'ATTRIBUTION.md', text: attribution(notes, size) },
      ...EMOJI_SPLITS.filter((split) => captions[split].length > 0).map((split) => ({
        name: `prompts/${split}.txt`,
        text: promptList(captions[split], 256),
      })),
      ...(['train', 'test'] as const)
        .filter((which) => rl[which].length > 0)
        .map((which) => ({ name: `prompts/rl/${which}.txt`, text: shuffledList(rl[which], RL_PROMPTS[which]) })),
    ],
  };
}
