// What `drm data prepare emoji` writes: the images, their licences, and lists of prompts.

import { Drop } from '../io/drop.js';
import type { SourceNote } from '../prepared/manifest.js';
import type { Planned, Source } from '../prepared/source.js';
import { attribution } from './attribution.js';
import {
  drawEmoji,
  EMOJI_SPLITS,
  type EmojiSplit,
  emojiImages,
  hash,
  isHeldOut,
  listEmoji,
  SPLIT_RULE,
} from './emoji.js';
import { furtherImages } from './further_emoji.js';

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

const changesOf = (size: number): string[] => [
  `Drawn from SVG at ${size}×${size} pixels on white by \`drm data prepare emoji\`; not changed otherwise.`,
  'Captions are made of the names in the packages. Each sample names its source and licence in its JSON file.',
];

/** @param also Of `FURTHER_STYLES`: more images to train on. The prompt lists do not know of them. */
export function emojiSource(size: number, only: EmojiSplit | 'all', also: readonly string[] = []): Source {
  const { notes: first, concepts, dropped } = listEmoji();
  const further = furtherImages(concepts, also, first.length);
  const notes = [...first, ...further.notes];
  const captions: Record<EmojiSplit, string[]> = { train: [], test: [], 'test-style': [] };
  const rl: Record<keyof typeof RL_PROMPTS, string[]> = { train: [], test: [] };
  const left = [...dropped, ...further.dropped];
  const records: Planned[] = [];
  for (const image of [...emojiImages(concepts), ...further.images]) {
    const { key, split, note, caption, concept, family, category, style, code, name } = image;
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
      return { key, files: [{ extension: 'webp', bytes: await drawEmoji(image, size) }], json };
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
      { name: 'ATTRIBUTION.md', text: attribution(notes, changesOf(size)) },
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
