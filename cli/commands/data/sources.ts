// What `drm data prepare` can read, by name.
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { type Source, WORK } from '../../data/prepared/source.js';
import type { AskedPairs, PublishedSet } from '../../data/sets/published.js';
import { PUBLISHED_SETS } from '../../data/sets/registry.js';
import type { PrepareContext } from './options.js';

/** What was asked for, as far as all sources read it alike. */
export interface Asked {
  context: PrepareContext;
  /** What to read; '' of what is embedded. */
  from: string;
  /** The folder to write to. */
  out: string;
  size: number | undefined;
  split: string;
}

export interface DataSource {
  /** Throws DrmError USAGE, BAD_FILE. */
  open(asked: Asked): Promise<Source>;
  /** Comes with drm: --from has nothing to name. */
  embedded?: boolean;
  /** Reads --max-pairs itself, and thins itself out evenly. */
  thinsItself?: boolean;
  /** What it leaves out is its definition: counted, not told. */
  dropsQuietly?: boolean;
}

export const SOURCES: Readonly<Record<string, DataSource>> = {
  ...Object.fromEntries(Object.entries(PUBLISHED_SETS).map(([name, set]) => [name, published(set)])),
  jsonl: {
    async open(asked) {
      const pairs = pairSetOptions(asked);
      const user = userOptions(asked, 'jsonl');
      const { userSource } = await import('../../data/sets/user_source.js');
      return userSource(pairs.from, user, { ...pairs, ...user });
    },
  },
  webdataset: {
    async open(asked) {
      const { from } = pairSetOptions(asked);
      const user = userOptions(asked, 'webdataset');
      return (await import('../../data/sets/webdataset.js')).webdatasetSource(from, user);
    },
  },
  emoji: {
    embedded: true,
    dropsQuietly: true,
    async open({ context: { options }, size, split }) {
      const { EMOJI_SPLITS } = await import('../../data/emoji/emoji.js');
      const { emojiSource } = await import('../../data/emoji/emoji_source.js');
      const { FURTHER_STYLES } = await import('../../data/emoji/further_emoji.js');
      const known = ['all', ...EMOJI_SPLITS] as const;
      const only = known.find((name) => name === split);
      if (!only) throw new DrmError('USAGE', `--split ${split}: expected ${known.join(', ')}`);
      const { also = [] } = options;
      const unknown = also.find((style) => !FURTHER_STYLES.includes(style));
      if (unknown !== undefined)
        throw new DrmError('USAGE', `--also ${unknown}: expected ${FURTHER_STYLES.join(', ')}; may be repeated`);
      return emojiSource(size ?? 64, only, also);
    },
  },
  'emoji-prefs': {
    embedded: true,
    thinsItself: true,
    async open({ context, size }) {
      const { openEmojiPrefs } = await import('./emoji_prefs.js');
      return openEmojiPrefs(context, { size: size ?? 64, maxPairs: context.options.maxPairs });
    },
  },
};

/** Published preference pairs. */
function published(set: PublishedSet): DataSource {
  return { open: async (asked) => set.open(pairSetOptions(asked), asked.context.options) };
}

/** What every source of files reads. Throws DrmError USAGE. */
function pairSetOptions({ context: { options }, from, out, size, split }: Asked): AskedPairs {
  return {
    from,
    split,
    size,
    selfContained: options.selfContained,
    keepTies: options.keepTies,
    minConfidence: options.minConfidence,
    seed: options.seed ?? 0,
    images: options.images,
    rewrite: (options.rewrite ?? []).map(rewriteRule),
    work: join(out, WORK),
  };
}

function userOptions({ context: { options }, size, split }: Asked, name: string) {
  if (split !== 'all')
    throw new DrmError('USAGE', `--split ${split}: ${name} has no splits of its own; see --hold-out`);
  return { size, holdOut: options.holdOut ?? 0 };
}

function rewriteRule(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new DrmError('USAGE', `--rewrite ${text}: expected from=to, such as --rewrite images/=`);
  return [text.slice(0, at), text.slice(at + 1)];
}
