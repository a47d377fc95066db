// Pick-a-Pic, versions 1 and 2: Parquet shards with the images inside.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { brief } from '../../common/shape.js';
import { Drop } from '../io/drop.js';
import { ParquetFile } from '../io/parquet/file.js';
import { type Pair, pairSource } from '../prepared/pair.js';
import type { Listing, Source } from '../prepared/source.js';
import { choiceIn, TIE } from './choice.js';
import { textIn, UNCLEAR } from './fields.js';
import { ImageColumn } from './image_column.js';
import type { Images } from './images_at.js';
import { folderOf, type PairSetOptions, splitsOf } from './listed.js';
import { StagedImages } from './staged_images.js';

const SHARD = /^(.+)-\d{5}-of-\d{5}(-[0-9a-f]+)?\.parquet$/i;
const SIDES = ['jpg_0', 'jpg_1'] as const;
const NEEDED = ['caption', 'image_0_uid', 'image_1_uid', 'label_0'];
const SMALL = [...NEEDED, 'has_label', 'model_0', 'model_1'];

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
    file.expectColumns(NEEDED);
    if (file.groups.length > 0 && SIDES.some((side) => !file.columns.includes(side)))
      throw new DrmError(
        'BAD_FILE',
        `[data] ${path}: expected images in the columns ${SIDES.join(' and ')}, found none: it is of a copy without images; fetch the full one`,
        { file: path },
      );
  } catch (error) {
    await file.close();
    throw error;
  }
  return file;
}

/** The pair of a row without its images, or why it is none. */
function pairOf(
  row: Record<string, unknown>,
  number: number,
  split: string,
  keepTies: boolean,
): (Omit<Pair, 'chosen' | 'rejected'> & { ids: [string, string] }) | Drop {
  const where = `${split}, row ${number}`;
  const [prompt, ...ids] = [row.caption, row.image_0_uid, row.image_1_uid].map(textIn);
  if (prompt === undefined || ids.includes(undefined))
    return new Drop('bad_record', `${where}: expected a caption and two uids`);
  const choice = choiceIn(row);
  if (choice === UNCLEAR)
    return new Drop('bad_record', `${where}: label_0 is ${brief(row.label_0)}, has_label ${brief(row.has_label)}`);
  if (choice === undefined) return new Drop('no_label', where);
  const isTie = choice === TIE;
  if (isTie && !keepTies) return new Drop('tie', `${where}: label ${brief(row.label_0)}`);
  const isFirst = choice !== 0;
  const models = [row.model_0, row.model_1].map(textIn);
  const [chosen_model, rejected_model] = isFirst ? models : models.reverse();
  return {
    split,
    ids: ids as [string, string],
    fields: {
      prompt,
      source: 'pickapic',
      ...(chosen_model !== undefined && { chosen_model }),
      ...(rejected_model !== undefined && { rejected_model }),
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
          const columns = SIDES.map((side) => ImageColumn.open(file, group, side));
          try {
            for (const [at, row] of (await file.read(group, SMALL)).entries()) {
              const number = rows.get(split) ?? 0;
              rows.set(split, number + 1);
              const pair = pairOf(row, number, split, options.keepTies);
              const isDone = listing.isDone(split, ordinal++);
              if (pair instanceof Drop) {
                yield pair;
                continue;
              }
              const { ids, ...rest } = pair;
              // In order, since the columns are read in order; what an earlier run has done is not read.
              const bytes: (Buffer | Drop)[] = [];
              if (!isDone)
                for (const [i, column] of columns.entries()) bytes[i] = await column.at(at, ids[i] as string);
              const [chosen, rejected] = (rest.fields.places as [number, number]).map((place) => ({
                id: ids[place] as string,
                size: () => (Buffer.isBuffer(bytes[place]) ? bytes[place].length : 0),
                read: async () => bytes[place] as Buffer | Drop,
              }));
              if (chosen && rejected) yield { ...rest, chosen, rejected };
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

/** Images of Pick-a-Pic by uid, for lists that name them `<uid>.jpg`. */
export class PickapicImages implements Images {
  #staged: StagedImages | undefined;

  private constructor(
    readonly place: string,
    private readonly shards: readonly string[],
    private readonly work: string,
  ) {}

  /** Undefined when the folder holds no shards. */
  static in(folder: string, work: string): PickapicImages | undefined {
    const shards = [...shardsIn(folder).values()].flat();
    return shards.length > 0 ? new PickapicImages(folder, shards, work) : undefined;
  }

  static #uidOf(name: string): string {
    return basename(name).replace(/\.\w+$/, '');
  }

  async stage(wanted: AsyncIterable<string> | Iterable<string>, { signal, onProgress }: Listing): Promise<void> {
    this.#staged ??= await StagedImages.open(this.work);
    const staged = this.#staged;
    for await (const name of wanted) staged.want(PickapicImages.#uidOf(name));
    for (const [done, path] of this.shards.entries()) {
      if (staged.missing === 0) break;
      const file = await openShard(path);
      for (let group = 0; group < file.groups.length; group++) {
        if (signal.aborted) throw new DrmError('CANCELLED', 'stopped while unpacking');
        const rows = await file.read(group, ['image_0_uid', 'image_1_uid']);
        for (const [i, side] of SIDES.entries()) {
          const column = ImageColumn.open(file, group, side);
          for (const [at, row] of rows.entries()) {
            const uid = textIn(row[`image_${i}_uid`]);
            if (uid === undefined || !staged.isMissing(uid)) continue;
            const bytes = await column.at(at, uid);
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
    return this.#staged?.read(PickapicImages.#uidOf(name)) ?? new Drop('missing_image', `${name}: not unpacked`);
  }

  async size(name: string): Promise<number> {
    return Math.max(0, this.#staged?.size(PickapicImages.#uidOf(name)) ?? 0);
  }

  async close(): Promise<void> {
    await this.#staged?.close();
  }
}
