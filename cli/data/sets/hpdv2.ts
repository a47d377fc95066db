// HPDv2: choices between two images for training, rankings of nine or ten for the test.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { hashOfFile } from '../../common/files.js';
import { brief } from '../../common/shape.js';
import { Drop } from '../io/drop.js';
import { listRecords } from '../io/json_list.js';
import type { PairFields } from '../prepared/pair.js';
import type { Source } from '../prepared/source.js';
import { preferenceIn } from './choice.js';
import { numbersIn, UNCLEAR } from './fields.js';
import {
  findImages,
  folderOf,
  isTexts,
  type ListedPair,
  listedSource,
  type PairSetOptions,
  pairsOfRanking,
  splitsOf,
  under,
} from './listed.js';

type Listed = Omit<ListedPair, 'images' | 'split'>;

function* choice(value: Record<string, unknown>, row: number, where: string): Generator<Listed | Drop> {
  const { prompt, file_path: names } = value;
  const preference = preferenceIn(value.human_preference);
  if (typeof prompt !== 'string' || !isTexts(names) || names.length !== 2 || preference === UNCLEAR)
    return yield new Drop('bad_record', `${where}: expected prompt, two of human_preference and two of file_path`);
  if (preference === undefined)
    return yield new Drop('no_single_preference', `${where}: ${brief(value.human_preference)}`);
  const [chosen, rejected] = preference;
  yield {
    fields: { prompt, source: 'hpdv2', row, places: [chosen, rejected] },
    chosen: names[chosen] as string,
    rejected: names[rejected] as string,
  };
}

/** Every unordered pair of a ranking, ties among them dropped or marked. Shared with ImageReward's lists of this form. */
export function* ranking(
  common: PairFields,
  names: readonly string[],
  ranks: readonly number[],
  keepTies: boolean,
  where: string,
): Generator<Listed | Drop> {
  for (const { places, isTie } of pairsOfRanking(ranks)) {
    const [chosen, rejected] = places.map((place) => names[place] as string) as [string, string];
    if (isTie && !keepTies) {
      yield new Drop('tie', `${where}: ${chosen} and ${rejected}`);
      continue;
    }
    const pairRanks = places.map((place) => ranks[place] as number) as [number, number];
    yield { fields: { ...common, ranks: pairRanks, places, ...(isTie && { tie: true }) }, chosen, rejected };
  }
}

export async function hpdv2Source(options: PairSetOptions): Promise<Source> {
  const folder = folderOf(options.from, 'the folder with train.json and test.json');
  const there = ['train', 'test'].filter((split) => existsSync(join(folder, `${split}.json`)));
  const splits = splitsOf(options.split, there, folder, 'train.json or test.json');
  const lists = splits.map((split) => {
    const file = join(folder, `${split}.json`);
    const archives = under(folder, `${split}.tar.gz`, `${split}.tar`);
    return {
      file,
      split,
      images: findImages(options.images, under(folder, split), archives, join(options.work, split), file),
    };
  });
  async function* all(): AsyncGenerator<ListedPair | Drop> {
    for (const [note, { file, split, images }] of lists.entries())
      for await (const { row, value } of listRecords(file)) {
        const where = `${split}.json, record ${row}`;
        if (value instanceof Drop) {
          yield value;
          continue;
        }
        const { prompt, image_path: names } = value;
        const ranks = isTexts(names) ? numbersIn(value.rank, names.length) : undefined;
        if (split === 'test' && (typeof prompt !== 'string' || !Array.isArray(ranks))) {
          yield new Drop('bad_record', `${where}: expected prompt, image_path and a rank for each`);
          continue;
        }
        const common = { prompt: prompt as string, source: 'hpdv2', group: String(row), row };
        const pairs =
          split === 'test'
            ? ranking(common, names as string[], ranks as number[], options.keepTies, where)
            : choice(value, row, where);
        for (const pair of pairs) yield pair instanceof Drop ? pair : { ...pair, split, note, images };
      }
  }
  return listedSource(options, {
    notes: splits.map((split) => ({ name: 'hpdv2', url: `${split}.json`, licence: 'Apache-2.0' })),
    settings: {
      source: 'hpdv2',
      lists: await Promise.all(
        lists.map(async ({ file, split }) => ({ list: `${split}.json`, sha256: await hashOfFile(file) })),
      ),
      ...(options.keepTies && { ties: true }),
    },
    pairs: all,
    stores: lists.map(({ images }) => images),
  });
}
