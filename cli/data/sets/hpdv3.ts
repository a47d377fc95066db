// HPDv3, and every list of its form: `path1` was preferred over `path2`. The paper trains on three such lists, whose
// images come from three sets.
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { hashOfFile } from '../../common/files.js';
import { Drop } from '../io/drop.js';
import { listRecords } from '../io/json_list.js';
import type { Source } from '../prepared/source.js';
import { Fields, numberIn, numbersIn, type Stated } from './fields.js';
import { GuardedImages, ImageFolder } from './images_at.js';
import {
  findImages,
  folderOf,
  type ListedPair,
  listedSource,
  type PairSetOptions,
  sampledRows,
  splitsOf,
  under,
} from './listed.js';
import { PickapicImages } from './pickapic.js';

/** A further list for training, from --mix. */
export interface MixedList {
  /** A JSON list of HPDv3's form. */
  list: string;
  images: string;
  /** So many of its pairs, chosen by seed; all when left out. */
  sample?: number;
}

export interface Hpdv3Options extends PairSetOptions {
  /** Training pairs of less are dropped; null and absent are kept. */
  minConfidence: number;
  /** The training list, if not train.json. */
  list: string | undefined;
  mix: MixedList[];
  /** So many pairs of the training list, chosen by seed. */
  sample: number | undefined;
  seed: number;
}

interface List {
  file: string;
  split: string;
  source: string;
  images: GuardedImages;
  minConfidence: number;
  sample: number | undefined;
}

/** Where paths of the published lists begin with the name of the folder that their set is in. */
const REWRITE: [string, string][] = [
  ['ImageRewardDB/', ''],
  ['Pickapic/', ''],
];

/** Images of a published list in the set's folder, in the one around it, or in its `images`: releases differ in that. */
class SetFolder extends ImageFolder {
  override async read(name: string): Promise<Uint8Array | Drop> {
    const found = await super.read(name);
    const others = [`images/${name}`, `ImageRewardDB/${name}`, `Pickapic/${name}`, `Pickapic/images/${name}`];
    if (name.startsWith('images/')) others.push(name.slice('images/'.length));
    for (const other of others) {
      if (!(found instanceof Drop) || found.reason !== 'missing_image') break;
      const there = await super.read(other);
      if (!(there instanceof Drop) || there.reason !== 'missing_image') return there;
    }
    return found;
  }
}

/** Votes for both images; not stated where either is not, or none is there. */
const votesIn = (value: unknown): Stated<number[]> =>
  Array.isArray(value) && (value.length === 0 || value.some((one) => numberIn(one) === undefined))
    ? undefined
    : numbersIn(value, 2);

async function* pairsIn(list: List): AsyncGenerator<ListedPair | Drop> {
  for await (const { row, value } of listRecords(list.file)) {
    const where = `${basename(list.file)}, record ${row}`;
    if (value instanceof Drop) {
      yield new Drop(value.reason, `${basename(list.file)}, ${value.detail}`);
      continue;
    }
    const { prompt, path1, path2, model1, model2 } = value;
    if (typeof prompt !== 'string' || typeof path1 !== 'string' || typeof path2 !== 'string') {
      yield new Drop('bad_record', `${where}: expected prompt, path1 and path2`);
      continue;
    }
    const fields = new Fields(value, where);
    const confidence = fields.take('confidence', numberIn);
    const votes = fields.take('choice_dist', votesIn);
    if (fields.fault) {
      yield fields.fault;
      continue;
    }
    if (confidence !== undefined && confidence < list.minConfidence) {
      yield new Drop('low_confidence', `${where}: ${confidence}`);
      continue;
    }
    yield {
      split: list.split,
      fields: {
        prompt,
        source: list.source,
        ...(confidence !== undefined && { confidence }),
        ...(typeof model1 === 'string' && { chosen_model: model1 }),
        ...(typeof model2 === 'string' && { rejected_model: model2 }),
        ...(votes && { votes: votes as [number, number] }),
        row,
        places: [0, 1],
      },
      chosen: path1,
      rejected: path2,
      images: list.images,
    };
  }
}

async function* eligibleRows(list: List): AsyncGenerator<number> {
  for await (const pair of pairsIn(list)) if (!(pair instanceof Drop)) yield pair.fields.row as number;
}

/** A mixed list's images: the shards of Pick-a-Pic, ImageRewardDB with its zips, or any folder or archive. */
function mixedImages({ list, images }: MixedList, work: string): GuardedImages {
  if (existsSync(images) && statSync(images).isDirectory()) {
    const shards = PickapicImages.in(images, work);
    return new GuardedImages(shards ?? new SetFolder(images), list);
  }
  return findImages(images, [], [], work, list);
}

export async function hpdv3Source(options: Hpdv3Options): Promise<Source> {
  const { from, seed } = options;
  const isFile = existsSync(from) && statSync(from).isFile();
  const folder = isFile ? dirname(from) : folderOf(from, 'the folder with train.json and test.json');
  const train = isFile ? basename(from) : (options.list ?? 'train.json');
  const there = [
    ...(existsSync(join(folder, train)) ? ['train'] : []),
    ...(existsSync(join(folder, 'test.json')) && !(isFile && train === 'test.json') ? ['test'] : []),
  ];
  if (options.list !== undefined && !there.includes('train'))
    throw new DrmError('BAD_FILE', `[data] ${join(folder, train)}: expected a JSON list, found nothing; check --list`, {
      file: join(folder, train),
    });
  // A list by itself is that split alone.
  const isTestList = isFile && train === 'test.json';
  const splits = isTestList
    ? ['test']
    : splitsOf(options.split, isFile ? ['train'] : there, folder, 'train.json or test.json');
  const images = findImages(
    options.images,
    existsSync(join(folder, 'images')) ? [folder] : [],
    under(folder, 'images.tar.gz', 'images.tar'),
    join(options.work, 'images'),
    join(folder, train),
  );
  const lists: List[] = [];
  for (const split of splits)
    lists.push({
      file: join(folder, split === 'test' ? 'test.json' : train),
      split,
      source: 'hpdv3',
      images,
      minConfidence: split === 'test' ? 0 : options.minConfidence, // test lists are not filtered
      sample: split === 'test' ? undefined : options.sample,
    });
  if (splits.includes('train'))
    for (const [i, mixed] of options.mix.entries()) {
      const file = existsSync(mixed.list) ? mixed.list : join(folder, mixed.list);
      if (!existsSync(file))
        throw new DrmError('BAD_FILE', `[data] ${file}: expected a JSON list, found nothing; check --mix`, { file });
      lists.push({
        file,
        split: 'train',
        source: basename(file).replace(/\.json$/, ''),
        images: mixedImages(mixed, join(options.work, `mix-${i}`)),
        minConfidence: options.minConfidence,
        sample: mixed.sample,
      });
    }
  const inputs = await Promise.all(
    lists.map(async ({ file, split, source, sample, images }) => ({
      list: basename(file),
      split,
      source,
      sha256: await hashOfFile(file),
      images: basename(images.place),
      ...(sample !== undefined && { sample }),
    })),
  );
  const samples = new Map<List, Set<number>>();
  async function* all(): AsyncGenerator<ListedPair | Drop> {
    for (const [note, list] of lists.entries()) {
      if (list.sample !== undefined && !samples.has(list))
        samples.set(list, await sampledRows(eligibleRows(list), list.sample, seed));
      const rows = samples.get(list);
      for await (const pair of pairsIn(list)) {
        if (pair instanceof Drop) yield pair;
        else if (rows && !rows.has(pair.fields.row as number))
          yield new Drop('not_sampled', `${basename(list.file)}, record ${pair.fields.row}`);
        else yield { ...pair, note };
      }
    }
  }
  return listedSource(options, {
    notes: lists.map(({ source, split, file }) => ({ name: source, url: `${basename(file)} (${split})` })),
    settings: {
      source: 'hpdv3',
      lists: inputs,
      min_confidence: options.minConfidence,
      ...(lists.some(({ sample }) => sample !== undefined) && { seed }),
    },
    pairs: all,
    stores: lists.map(({ images }) => images),
    rewrite: REWRITE,
  });
}
