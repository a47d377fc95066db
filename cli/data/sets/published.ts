// What there is to know of a published set of preference pairs before any of it is read.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Option, OptionsOf } from '../../common/option.js';
import { pickOptions } from '../../common/options.js';
import type { Source } from '../prepared/source.js';
import type { PairSetOptions } from './listed.js';

/** Ways of counting right answers; eval/protocols.ts defines them. */
export type ProtocolName = 'strict' | 'pooled' | 'rank' | 'mean-over-prompts' | 'tie-aware';

/** What the user may ask of published sets. */
export interface AskedPairs extends PairSetOptions {
  minConfidence: number | undefined;
  seed: number;
}

export interface PublishedSet {
  /** Of `drm data prepare`, for this set alone. */
  flags: readonly Option[];
  /** `options`: all that `drm data` has read, those of `flags` among them. Throws DrmError USAGE, BAD_FILE. */
  open(pairs: AskedPairs, options: object): Promise<Source>;
  /** What its folder is called beside other sets, the first name in messages. */
  folders: readonly string[];
  list: ListFiles;
  /** What its own code counts beside strict pairs. */
  protocols: readonly ProtocolName[];
}

/** A set whose `open` sees its own flags alone, with the types that they say. */
export const publishedSet = <const Flags extends readonly Option[]>(
  set: Omit<PublishedSet, 'flags' | 'open'> & {
    flags: Flags;
    open(pairs: AskedPairs, options: OptionsOf<Flags>): Promise<Source>;
  },
): PublishedSet => ({ ...set, open: (pairs, options) => set.open(pairs, pickOptions(set.flags, options)) });

/** Where the list of a split is in the set's folder. */
export interface ListFiles {
  /** For messages. */
  name(split: string): string;
  /** None where there is none. */
  find(folder: string, split: string): string[];
}

/** test.json, train.json. */
export const jsonLists: ListFiles = {
  name: (split) => `${split}.json`,
  find(folder, split) {
    const file = join(folder, `${split}.json`);
    return existsSync(file) ? [file] : [];
  },
};

/** data/test-00000-of-00002.parquet and so on. */
export const parquetShards: ListFiles = {
  name: (split) => `data/${split}-….parquet`,
  find(folder, split) {
    for (const inside of [join(folder, 'data'), folder]) {
      const names = existsSync(inside) ? readdirSync(inside).sort() : [];
      const shards = names.filter((name) => name.startsWith(`${split}-`) && /\.parquet$/i.test(name));
      if (shards.length > 0) return shards.map((name) => join(inside, name));
    }
    return [];
  },
};
