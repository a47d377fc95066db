// ImageRewardDB: Parquet metadata that ranks the images of each prompt, images in zips. And the authors' test list.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { hashOfFile } from '../../common/files.js';
import { Drop } from '../io/drop.js';
import { listRecords } from '../io/json_list.js';
import { ParquetFile } from '../io/parquet/file.js';
import { ZipFolder } from '../io/zip.js';
import type { Source } from '../prepared/source.js';
import { numbersIn, textIn } from './fields.js';
import { ranking } from './hpdv2.js';
import { GuardedImages, ImageFolder } from './images_at.js';
import {
  findImages,
  folderOf,
  isTexts,
  type ListedPair,
  listedSource,
  type PairSetOptions,
  splitsOf,
} from './listed.js';

const SPLITS = ['train', 'validation', 'test'];
const COLUMNS = ['image_path', 'prompt_id', 'prompt', 'rank'];

const idIn = (value: unknown): string | undefined =>
  typeof value === 'number' || typeof value === 'bigint' ? String(value) : textIn(value);

interface Ranking {
  id: string;
  prompt: string;
  names: string[];
  ranks: unknown[];
}

/** The rankings of a metadata file, in the order in which their prompts come. 50,000 rows are some 10 MB. */
async function rankingsOf(path: string): Promise<(Ranking | Drop)[]> {
  const file = await ParquetFile.open(path);
  const rankings = new Map<string, Ranking>();
  const drops: Drop[] = [];
  let row = 0;
  try {
    file.expectColumns(COLUMNS);
    for (let group = 0; group < file.groups.length; group++)
      for (const { image_path, prompt_id, prompt, rank } of await file.read(group, COLUMNS)) {
        const [name, id, text] = [textIn(image_path), idIn(prompt_id), textIn(prompt)];
        row += 1;
        if (name === undefined || id === undefined || text === undefined) {
          // Images without a prompt_id are not of one prompt.
          drops.push(new Drop('bad_record', `${basename(path)}, row ${row - 1}: expected ${COLUMNS.join(', ')}`));
          continue;
        }
        const found = rankings.get(id) ?? { id, prompt: text, names: [], ranks: [] };
        rankings.set(id, found);
        found.names.push(name);
        found.ranks.push(rank);
      }
  } finally {
    await file.close();
  }
  return [...rankings.values(), ...drops];
}

/** The authors' test list: images of each prompt and their ranks. */
async function* rankingsIn(list: string): AsyncGenerator<Ranking | Drop> {
  for await (const { row, value } of listRecords(list)) {
    const { id, prompt, generations, ranking: ranks } = value instanceof Drop ? {} : (value as Record<string, unknown>);
    if (value instanceof Drop) yield value;
    else if (typeof prompt !== 'string' || !isTexts(generations) || !Array.isArray(ranks))
      yield new Drop('bad_record', `${basename(list)}, record ${row}: expected prompt, generations and ranking`);
    else yield { id: idIn(id) ?? String(row), prompt, names: generations, ranks };
  }
}

/** Images that the authors' list names by other folders than they are in: found by their file's name, a uuid. */
class ImagesByName extends ImageFolder {
  #places: Map<string, string> | undefined;

  async #find(): Promise<Map<string, string>> {
    const places = new Map<string, string>();
    const entries = readdirSync(this.place, { recursive: true, withFileTypes: true });
    for (const entry of entries) {
      const path = relative(this.place, join(entry.parentPath, entry.name));
      if (!/\.zip$/.test(path)) {
        if (entry.isFile() || entry.isSymbolicLink()) places.set(entry.name, path);
        continue;
      }
      const zip = await ZipFolder.open(join(this.place, path));
      for (const name of zip.names()) if (!places.has(name)) places.set(name, join(path.replace(/\.zip$/, ''), name));
      zip.close();
    }
    return places;
  }

  override async read(name: string): Promise<Uint8Array | Drop> {
    const found = await super.read(name);
    if (!(found instanceof Drop) || found.reason !== 'missing_image') return found;
    const place = await this.#placeOf(name);
    return place === undefined ? found : super.read(place);
  }

  override async size(name: string): Promise<number> {
    const size = await super.size(name);
    const place = size > 0 ? undefined : await this.#placeOf(name);
    return place === undefined ? size : super.size(place);
  }

  async #placeOf(name: string): Promise<string | undefined> {
    this.#places ??= await this.#find();
    return this.#places.get(basename(name));
  }
}

const isJson = (file: string): boolean => /\.json$/i.test(file);

interface List {
  file: string;
  split: string;
  images: GuardedImages;
}

function listsOf(options: PairSetOptions): List[] {
  const { from, images, work } = options;
  if (existsSync(from) && statSync(from).isFile() && isJson(from)) {
    const folder = dirname(from);
    const test = join(folder, 'test_images');
    const place = images ?? (existsSync(test) ? test : folder);
    return [{ file: from, split: 'test', images: new GuardedImages(new ImagesByName(place), from) }];
  }
  const folder = folderOf(from, 'the folder with metadata-train.parquet, or the authors’ test.json');
  const fileOf = (split: string) => join(folder, `metadata-${split}.parquet`);
  const there = SPLITS.filter((split) => existsSync(fileOf(split)));
  const splits = splitsOf(options.split, there, folder, 'metadata-train.parquet and the like');
  return splits.map((split) => ({
    file: fileOf(split),
    split,
    images: findImages(images, [folder], [], work, fileOf(split)),
  }));
}

export async function imagerewardSource(options: PairSetOptions): Promise<Source> {
  const lists = listsOf(options);
  async function* all(): AsyncGenerator<ListedPair | Drop> {
    for (const [note, { file, split, images }] of lists.entries()) {
      let row = 0;
      for await (const found of isJson(file) ? rankingsIn(file) : await rankingsOf(file)) {
        if (found instanceof Drop) {
          yield found;
          row += 1;
          continue;
        }
        const { id, prompt, names } = found;
        const where = `${split}, prompt ${id}`;
        const ranks = numbersIn(found.ranks, names.length);
        const common = { prompt, source: 'imagereward', group: id, row: row++ };
        if (!Array.isArray(ranks))
          yield new Drop('bad_record', `${where}: expected a rank for each of ${names.length} images`);
        else
          for (const pair of ranking(common, names, ranks, options.keepTies, where))
            yield pair instanceof Drop ? pair : { ...pair, split, note, images };
      }
    }
  }
  return listedSource(options, {
    notes: lists.map(({ file }) => ({ name: 'imagereward', url: basename(file), licence: 'Apache-2.0' })),
    settings: {
      source: 'imagereward',
      lists: await Promise.all(
        lists.map(async ({ file }) => ({ list: basename(file), sha256: await hashOfFile(file) })),
      ),
      ...(options.keepTies && { ties: true }),
    },
    pairs: all,
    stores: lists.map(({ images }) => images),
  });
}
