// What the sets have in common whose pairs are listed in one place and whose images are in another.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { philox } from '../../random/philox.js';
import { Drop } from '../io/drop.js';
import { type Pair, type PairFields, type PairImage, type PairSourceOptions, pairSource } from '../prepared/pair.js';
import type { Listing, Source } from '../prepared/source.js';
import { archiveFiles, GuardedImages, ImageArchive, ImageFolder, type Images } from './images_at.js';

/** What the user may ask of every set of pairs. */
export interface PairSetOptions {
  from: string;
  /** One split, or `all`. */
  split: string;
  size: number | undefined;
  selfContained: boolean;
  keepTies: boolean;
  /** Where the images are, if not beside the list. */
  images: string | undefined;
  /** Beginnings of image names, and what stands for them where the images are. */
  rewrite: [from: string, to: string][];
  /** A folder for what lives as long as the preparation. */
  work: string;
}

/** A pair by the names of its images. */
export interface ListedPair {
  split: string;
  note?: number;
  fields: PairFields;
  /** Names of the images in the list. */
  chosen: string;
  rejected: string;
  images: GuardedImages;
}

const rewriteName = (name: string, rules: readonly [string, string][]): string => {
  const rule = rules.find(([from]) => name.startsWith(from));
  return rule ? rule[1] + name.slice(rule[0].length) : name;
};

/** The source of a set's listed pairs; `stores` are where their images are, and are closed with it. */
export function listedSource(
  options: Pick<PairSetOptions, 'rewrite' | 'size' | 'selfContained'>,
  given: Pick<PairSourceOptions, 'notes' | 'settings' | 'total'> & {
    pairs: () => AsyncIterable<ListedPair | Drop>;
    stores: Iterable<GuardedImages>;
    /** Rules of the set's own, after the user's. */
    rewrite?: readonly [string, string][];
  },
): Source {
  const stores = [...new Set(given.stores)];
  const rules = [...options.rewrite, ...(given.rewrite ?? [])];
  return pairSource({
    notes: given.notes,
    settings: { ...given.settings, ...(options.rewrite.length > 0 && { rewrite: options.rewrite }) },
    ...(given.total !== undefined && { total: given.total }),
    size: options.size,
    selfContained: options.selfContained,
    pairs: (listing) => withImages(given.pairs, stores, listing, (name) => rewriteName(name, rules)),
    fault: () => stores.find((store) => store.isWrong)?.error(),
    close: async () => {
      for (const store of stores) await store.close();
    },
  });
}

/**
 * Pairs whose images can be read; those in archives are unpacked before the first one is given out. `list` is gone
 * through several times, since the names of a large set's images together are too many to be held.
 */
async function* withImages(
  list: () => AsyncIterable<ListedPair | Drop>,
  stores: Iterable<GuardedImages>,
  listing: Listing,
  nameOf: (listed: string) => string,
): AsyncGenerator<Pair | Drop> {
  // A few pairs out of a large archive should not unpack all of it; when too many of them are dropped, more are taken.
  let block = Number.isFinite(listing.most) ? Math.ceil(1.1 * listing.most) + 100 : Number.POSITIVE_INFINITY;
  for (let from = 0; ; from += block, block *= 10) {
    for (const store of stores)
      if (store.stage) await store.stage(wantedOf(store, list(), from, from + block, listing, nameOf), listing);
    let number = 0;
    let ordinal = 0;
    let isCut = false;
    for await (const pair of list()) {
      const at = ordinal++;
      if (pair instanceof Drop) {
        if (number >= from) yield pair;
        continue;
      }
      if (number === from + block) {
        isCut = true;
        break;
      }
      if (number++ < from) continue;
      const { chosen, rejected, images, ...rest } = pair;
      if (listing.isDone(pair.split, at)) images.trust();
      const imageOf = (id: string): PairImage => ({
        id,
        size: () => images.size(nameOf(id)),
        read: () => images.read(nameOf(id)),
      });
      yield { ...rest, chosen: imageOf(chosen), rejected: imageOf(rejected) };
    }
    if (!isCut) return;
  }
}

async function* wantedOf(
  store: GuardedImages,
  list: AsyncIterable<ListedPair | Drop>,
  from: number,
  to: number,
  listing: Listing,
  nameOf: (listed: string) => string,
): AsyncGenerator<string> {
  let number = 0;
  let ordinal = 0;
  for await (const pair of list) {
    const at = ordinal++;
    if (pair instanceof Drop) continue;
    if (number === to) return;
    if (number++ < from || pair.images !== store || listing.isDone(pair.split, at)) continue;
    yield nameOf(pair.chosen);
    yield nameOf(pair.rejected);
  }
}

/** `count` of the rows that `isEligible` lets through, by seed alone: the same ones whatever else is asked. */
export async function sampledRows(rows: AsyncIterable<number>, count: number, seed: number): Promise<Set<number>> {
  const key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0] as const;
  const drawn: [number, number][] = [];
  for await (const row of rows) {
    const [high = 0, low = 0] = philox([row, 0, 0x6d6978, 0], key); // "mix"
    drawn.push([high * 2 ** 21 + (low >>> 11), row]);
  }
  drawn.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return new Set(drawn.slice(0, count).map(([, row]) => row));
}

/** The pairs of one ranking: lower is better, equal is a tie. Each by the positions of its chosen and rejected image. */
export function* pairsOfRanking(ranks: readonly number[]): Generator<{ places: [number, number]; isTie: boolean }> {
  for (let a = 0; a < ranks.length; a++)
    for (let b = a + 1; b < ranks.length; b++) {
      const difference = (ranks[a] as number) - (ranks[b] as number);
      yield { places: difference <= 0 ? [a, b] : [b, a], isTie: difference === 0 };
    }
}

export const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((part) => typeof part === 'string');

/** The folder that --from names. Throws DrmError BAD_FILE. */
export function folderOf(from: string, what: string): string {
  if (!existsSync(from))
    throw new DrmError('BAD_FILE', `[data] ${from}: expected ${what}, found nothing; check --from`, { file: from });
  if (!statSync(from).isDirectory())
    throw new DrmError('BAD_FILE', `[data] ${from}: expected ${what}, found a file; give the folder with --from`, {
      file: from,
    });
  return from;
}

/** The splits to prepare: those there are, or the one that was named. Throws DrmError USAGE for an unknown one. */
export function splitsOf(split: string, there: readonly string[], folder: string, what: string): string[] {
  if (there.length === 0)
    throw new DrmError('BAD_FILE', `[data] ${folder}: expected ${what}, found none; check --from`, { file: folder });
  if (split === 'all') return [...there];
  if (!there.includes(split))
    throw new DrmError('USAGE', `--split ${split}: expected all, ${there.join(', ')}, which are in ${folder}`);
  return [split];
}

/**
 * Images in a folder or an archive: `given` with --images if it is, else the first of these that is there. Throws
 * DrmError BAD_FILE naming where it looked.
 */
export function findImages(
  given: string | undefined,
  folders: readonly string[],
  archives: readonly string[],
  work: string,
  list: string,
): GuardedImages {
  const of = (images: Images) => new GuardedImages(images, list);
  const inArchive = (name: string) => {
    const files = archiveFiles(name);
    return files.length > 0 ? new ImageArchive(files, work) : undefined;
  };
  if (given !== undefined) {
    if (existsSync(given) && statSync(given).isDirectory()) return of(new ImageFolder(given));
    const archive = inArchive(given.replace(/\.0+$/, '')) ?? inArchive(given);
    if (archive) return of(archive);
    throw new DrmError(
      'BAD_FILE',
      `[data] ${given}: expected a folder of images, or an archive (its first part, if it is in parts), found nothing; check --images`,
      { file: given },
    );
  }
  const folder = folders.find((name) => existsSync(name));
  if (folder !== undefined) return of(new ImageFolder(folder));
  for (const name of archives) {
    const archive = inArchive(name);
    if (archive) return of(archive);
  }
  throw new DrmError(
    'BAD_FILE',
    `[data] ${list}: expected its images in ${[...folders, ...archives.map((name) => `${name}(.00, …)`)].join(' or ')}, found none of these; say where they are with --images`,
    { file: list },
  );
}

export const under = (folder: string, ...names: string[]): string[] => names.map((name) => join(folder, name));
