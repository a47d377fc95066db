// Pick-a-Pic, versions 1 and 2: Parquet shards with the pictures inside.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { type Pair, pairSource } from '../pair.js';
import type { BinaryValue } from '../parquet/column.js';
import { ParquetFile } from '../parquet/file.js';
import type { Pictures } from '../pictures_at.js';
import { Drop, type Listing, type Source } from '../source.js';
import { StagedPictures } from '../staged_pictures.js';
import { folderOf, type PairSetOptions, splitsOf } from './listed.js';

const SHARD = /^(.+)-\d{5}-of-\d{5}(-[0-9a-f]+)?\.parquet$/;
const SIDES = ['jpg_0', 'jpg_1'] as const;
const SMALL = ['caption', 'has_label', 'image_0_uid', 'image_1_uid', 'label_0', 'model_0', 'model_1'];

/** The shards in a folder or its `data`, by split, in order. */
function shardsIn(folder: string): Map<string, string[]> {
  const shards = new Map<string, string[]>();
  for (const within of [folder, join(folder, 'data')]) {
    if (!existsSync(within)) continue;
    for (const name of readdirSync(within).sort()) {
      const [, split] = SHARD.exec(name) ?? [];
      if (split === undefined) continue;
      shards.set(split, [...(shards.get(split) ?? []), join(within, name)]);
    }
    if (shards.size > 0) break;
  }
  return shards;
}

async function openShard(path: string): Promise<ParquetFile> {
  const file = await ParquetFile.open(path);
  try {
    file.expectColumns(SMALL);
    if (file.groups.length > 0 && SIDES.some((side) => !file.columns.includes(side)))
      throw new DrmError(
        'BAD_FILE',
        `[data] ${path}: expected pictures in the columns ${SIDES.join(' and ')}, found none: it is of a copy without images; fetch the full one`,
        { file: path },
      );
  } catch (error) {
    await file.close();
    throw error;
  }
  return file;
}

interface Row {
  caption: string;
  has_label: boolean | null;
  image_0_uid: string;
  image_1_uid: string;
  label_0: number | null;
  model_0: string | null;
  model_1: string | null;
}

const isRow = (row: Record<string, unknown>): boolean =>
  typeof row.caption === 'string' && typeof row.image_0_uid === 'string' && typeof row.image_1_uid === 'string';

const bytesOf = (value: BinaryValue, where: string): Buffer | Drop => {
  if (value === undefined) return new Drop('missing_image', `${where}: null`);
  return typeof value === 'number' ? new Drop('too_large', `${where}: ${value} bytes`) : value;
};

/** The pair of a row without its pictures, or why it is none. 1 means that image 0 wins; nothing else decides. */
function pairOf(row: Row, number: number, split: string, keepTies: boolean): Omit<Pair, 'chosen' | 'rejected'> | Drop {
  const where = `${split}, row ${number}`;
  if (!isRow(row as unknown as Record<string, unknown>))
    return new Drop('bad_record', `${where}: expected a caption and two uids`);
  if (row.has_label === false || row.label_0 === null || row.label_0 === undefined) return new Drop('no_label', where);
  const isTie = row.label_0 !== 0 && row.label_0 !== 1;
  if (isTie && !keepTies) return new Drop('tie', `${where}: label ${row.label_0}`);
  const isFirst = row.label_0 !== 0;
  const [chosen_model, rejected_model] = isFirst ? [row.model_0, row.model_1] : [row.model_1, row.model_0];
  return {
    split,
    fields: {
      prompt: row.caption,
      source: 'pickapic',
      ...(typeof chosen_model === 'string' && { chosen_model }),
      ...(typeof rejected_model === 'string' && { rejected_model }),
      ...(isTie && { tie: true as const }),
      row: number,
      places: isFirst ? [0, 1] : [1, 0],
    },
  };
}

export async function pickapicSource(options: PairSetOptions): Promise<Source> {
  const folder = folderOf(options.from, 'the folder with the Parquet shards');
  const shards = shardsIn(folder);
  const splits = splitsOf(
    options.split,
    [...shards.keys()].sort(),
    folder,
    'shards such as train-00000-of-00645.parquet',
  );
  const files = splits.flatMap((split) => (shards.get(split) as string[]).map((path) => ({ split, path })));
  let total = 0;
  for (const { path } of files) {
    const file = await openShard(path); // a bad one is named now, not after hours
    for (let group = 0; group < file.groups.length; group++) total += file.rows(group);
    await file.close();
  }
  async function* pairs(listing: Listing): AsyncGenerator<Pair | Drop> {
    let ordinal = 0;
    const rows = new Map<string, number>(); // of each split so far
    for (const { split, path } of files) {
      const file = await openShard(path);
      try {
        for (let group = 0; group < file.groups.length; group++) {
          const columns = SIDES.map((side) => file.binary(group, side));
          try {
            for (const [at, row] of ((await file.read(group, SMALL)) as unknown as Row[]).entries()) {
              const number = rows.get(split) ?? 0;
              rows.set(split, number + 1);
              const pair = pairOf(row, number, split, options.keepTies);
              const isDone = listing.isDone(split, ordinal++);
              if (pair instanceof Drop) {
                yield pair;
                continue;
              }
              const ids = [row.image_0_uid, row.image_1_uid];
              // In order, since the columns are read in order; what an earlier run has done is not read.
              const bytes: (Buffer | Drop)[] = [];
              if (!isDone)
                for (const [i, column] of columns.entries()) bytes[i] = bytesOf(await column.at(at), ids[i] as string);
              const [chosen, rejected] = (pair.fields.places as [number, number]).map((place) => ({
                id: ids[place] as string,
                read: async () => bytes[place] as Buffer | Drop,
              }));
              if (chosen && rejected) yield { ...pair, chosen, rejected };
            }
          } finally {
            for (const column of columns) await column.close();
          }
        }
      } finally {
        await file.close();
      }
    }
  }
  return pairSource({
    notes: [{ name: 'pickapic', url: splits.join(', ') }],
    settings: {
      source: 'pickapic',
      shards: files.map(({ path }) => `${basename(path)}, ${statSync(path).size} bytes`),
      ...(options.keepTies && { ties: true }),
    },
    total,
    size: options.size,
    selfContained: options.selfContained,
    pairs,
  });
}

/** Pictures of Pick-a-Pic by uid, for lists that name them `<uid>.jpg`. */
export class PickapicPictures implements Pictures {
  #staged: StagedPictures | undefined;

  private constructor(
    readonly place: string,
    private readonly shards: readonly string[],
    private readonly work: string,
  ) {}

  /** Undefined when the folder holds no shards. */
  static in(folder: string, work: string): PickapicPictures | undefined {
    const shards = [...shardsIn(folder).values()].flat();
    return shards.length > 0 ? new PickapicPictures(folder, shards, work) : undefined;
  }

  static #uidOf(name: string): string {
    return basename(name).replace(/\.\w+$/, '');
  }

  async stage(wanted: AsyncIterable<string> | Iterable<string>, { signal, onProgress }: Listing): Promise<void> {
    this.#staged ??= await StagedPictures.open(this.work);
    const staged = this.#staged;
    for await (const name of wanted) staged.want(PickapicPictures.#uidOf(name));
    for (const [done, path] of this.shards.entries()) {
      if (staged.missing === 0) break;
      const file = await openShard(path);
      for (let group = 0; group < file.groups.length; group++) {
        if (signal.aborted) throw new DrmError('CANCELLED', 'stopped while unpacking');
        const rows = (await file.read(group, ['image_0_uid', 'image_1_uid'])) as Record<string, string>[];
        for (const [i, side] of SIDES.entries()) {
          const column = file.binary(group, side);
          for (const [at, row] of rows.entries()) {
            const uid = row[`image_${i}_uid`];
            if (uid === undefined || !staged.isMissing(uid)) continue;
            const bytes = bytesOf(await column.at(at), uid);
            if (!(bytes instanceof Drop)) await staged.put(uid, bytes);
          }
          await column.close();
        }
      }
      await file.close();
      onProgress('unpacking', done + 1, this.shards.length, 'shard');
    }
    await staged.sync();
  }

  async read(name: string): Promise<Uint8Array | Drop> {
    return this.#staged?.read(PickapicPictures.#uidOf(name)) ?? new Drop('missing_image', `${name}: not unpacked`);
  }

  async close(): Promise<void> {
    await this.#staged?.close();
  }
}
