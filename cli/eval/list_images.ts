// Which images of a preference set's list cannot be used. Scorers tend to put something in place of an image that they
// could not read; a pair that holds such a one says nothing.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { ZipFile } from 'yauzl';
import { Drop } from '../data/io/drop.js';
import { decodeImage } from '../data/io/image.js';
import type { RankedList } from './judged_lists.js';
import type { EvaluationOptions } from './retrieval.js';

/** Decoded at a time. */
const TOGETHER = 16;

/** A larger member is no image that anyone scored, and is not unpacked. */
const LARGEST_MEMBER = 1 << 28;

interface Member {
  zip: ZipFile;
  entry: Parameters<ZipFile['openReadStreamPromise']>[0];
}

/** ImageRewardDB's archives, by the last part of their members' names. */
async function zipMembers(folder: string): Promise<{ members: Map<string, Member>; close: () => void }> {
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.zip')) : [];
  const members = new Map<string, Member>();
  const zips: ZipFile[] = [];
  if (names.length > 0) {
    const { openPromise } = await import('yauzl');
    for (const name of names.sort()) {
      const zip = await openPromise(join(folder, name), { autoClose: false });
      zips.push(zip);
      for await (const entry of zip.eachEntry()) members.set(basename(entry.fileName), { zip, entry });
    }
  }
  const close = () => {
    for (const zip of zips) zip.close();
  };
  return { members, close };
}

async function unpack({ zip, entry }: Member): Promise<Uint8Array> {
  if (entry.uncompressedSize > LARGEST_MEMBER) throw new Error('too large for an image');
  const parts: Buffer[] = [];
  for await (const part of await zip.openReadStreamPromise(entry)) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

export interface Unusable {
  /** Names as in the list. */
  names: ReadonlySet<string>;
  missing: number;
  undecodable: number;
  /** False where the set's images are not on this machine at all: then nothing is known of any. */
  looked: boolean;
}

/** Opens every image of the list once. */
export async function unusableImages(list: RankedList, { signal, onImages }: EvaluationOptions): Promise<Unusable> {
  const names = [...new Set(list.records.flatMap(({ images }) => images))];
  const found = names.map((name) => list.image(name).find((path) => existsSync(path)));
  const missing: string[] = [];
  const undecodable: string[] = [];
  const { members, close } = found.every((path) => path !== undefined)
    ? { members: new Map<string, Member>(), close: () => {} }
    : await zipMembers(join(dirname(list.files[0] as string), 'images', list.split));
  const look = async (name: string, path: string | undefined): Promise<void> => {
    const member = members.get(basename(name));
    if (path === undefined && !member) return void missing.push(name);
    const image = await (path === undefined ? unpack(member as Member) : Promise.resolve(readFileSync(path))).then(
      decodeImage,
      (error: Error) => new Drop('undecodable_image', error.message),
    );
    if (image instanceof Drop) undecodable.push(name);
  };
  try {
    for (let begin = 0; begin < names.length; begin += TOGETHER) {
      signal?.throwIfAborted();
      const some = names.slice(begin, begin + TOGETHER);
      await Promise.all(some.map((name, i) => look(name, found[begin + i])));
      onImages?.(begin + some.length, names.length);
    }
  } finally {
    close();
  }
  const looked = missing.length < names.length;
  return {
    names: new Set(looked ? [...missing, ...undecodable] : []),
    missing: looked ? missing.length : 0,
    undecodable: undecodable.length,
    looked,
  };
}
