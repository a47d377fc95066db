// The preference sets' own test lists, as they are on the hub: what people said of which images. Scores that another
// program gave in a list's order are judged against these.
import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { readText } from '../common/json.js';
import { jsonValues } from '../common/json_forms.js';
import { brief } from '../common/shape.js';
import { ParquetFile } from '../data/io/parquet/file.js';
import { choiceIn, preferenceIn } from '../data/sets/choice.js';
import { numbersIn, textIn, UNCLEAR } from '../data/sets/fields.js';
import type { ProtocolName, PublishedSet } from '../data/sets/published.js';
import { PUBLISHED_SETS } from '../data/sets/registry.js';

/** One record of a list: a prompt, its images, and their order; lower is better. A pair has ranks 1 and 2. */
export interface JudgedRecord {
  prompt: string;
  images: string[];
  ranks: number[];
}

/** A row of Pick-a-Pic: 1 when image 0 was preferred, 0 when image 1 was, 0.5 for a tie; undefined: not judged. */
export interface JudgedChoice {
  prompt: string;
  label: number | undefined;
}

export interface RankedList {
  kind: 'pairs' | 'rankings';
  files: string[];
  split: string;
  /** How the set's own code counts, and what else is usual. */
  protocols: readonly ProtocolName[];
  records: JudgedRecord[];
  /** Where an image may lie. */
  image: (name: string) => string[];
}

export interface ChoiceList {
  kind: 'choices';
  files: string[];
  protocols: readonly ProtocolName[];
  records: JudgedChoice[];
}

export type JudgedList = RankedList | ChoiceList;

const bad = (file: string, what: string): DrmError => new DrmError('BAD_FILE', `[eval] ${file}: ${what}`, { file });

type Row = Record<string, unknown>;

const texts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((text) => typeof text === 'string');

/** Of two images the ranks that people's preference gives them: equal where they preferred neither or both. */
function ranksOfPreference(value: unknown): number[] | undefined {
  const preference = preferenceIn(value);
  if (preference === UNCLEAR) return undefined;
  return preference?.map((place) => 1 + place) ?? [1, 1];
}

interface Form {
  kind: 'pairs' | 'rankings';
  protocols: ProtocolName[];
  /** Tells this form from the others. */
  keys: string[];
  read(row: Row): { images: unknown; ranks: unknown };
  /** Where an image of the list may lie. */
  image(folder: string, split: string, name: string): string[];
}

const FORMS: Form[] = [
  {
    // HPDv3: the first image is preferred.
    kind: 'pairs',
    protocols: ['strict'],
    keys: ['path1', 'path2'],
    read: ({ path1, path2 }) => ({ images: [path1, path2], ranks: [1, 2] }),
    image: (folder, _, name) => [join(folder, name)],
  },
  {
    // HPDv2, test.
    kind: 'rankings',
    protocols: ['rank', 'pooled'],
    keys: ['image_path', 'rank'],
    read: ({ image_path: images, rank: ranks }) => ({ images, ranks }),
    image: (folder, split, name) => [join(folder, split, name), join(folder, name)],
  },
  {
    // HPDv2, train.
    kind: 'pairs',
    protocols: ['strict'],
    keys: ['human_preference', 'file_path'],
    read: ({ human_preference: preferred, file_path: images }) => ({
      images,
      ranks: ranksOfPreference(preferred),
    }),
    image: (folder, split, name) => [join(folder, split, name), join(folder, name)],
  },
  {
    // ImageReward: the repository's test.json names images otherwise than the hub's archives, where only the last part of
    // a path is found again.
    kind: 'rankings',
    protocols: ['pooled', 'mean-over-prompts'],
    keys: ['generations', 'ranking'],
    read: ({ generations: images, ranking: ranks }) => ({ images, ranks }),
    image: (folder, split, name) => [
      join(folder, name),
      join(folder, `${split}_images`, name),
      ...foldersIn(join(folder, 'images', split)).map((part) => join(part, basename(name))),
    ],
  },
];

const foldersIn = (folder: string): string[] =>
  existsSync(folder)
    ? readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
        entry.isDirectory() ? [join(folder, entry.name)] : [],
      )
    : [];

function readJsonList(file: string): JudgedList {
  const values = readText(file, { part: 'eval', expected: 'a JSON list of a preference set' }, jsonValues);
  const rows = values.map(({ value }) => value);
  if (rows.length === 0) throw bad(file, 'expected a JSON list with at least one record');
  const form = FORMS.find(({ keys }) => keys.every((key) => Object.hasOwn(Object(rows[0]), key)));
  if (!form)
    throw bad(
      file,
      `expected a list of HPDv3, HPDv2 or ImageReward (records with ${FORMS.map(({ keys }) => keys.join(' and ')).join('; ')}), found keys ${Object.keys(Object(rows[0])).join(', ') || 'none'}`,
    );
  const records = rows.map((row: unknown, i): JudgedRecord => {
    const { prompt, ...rest } = Object(row) as Row;
    const { images, ranks: given } = form.read(rest);
    const ranks = texts(images) ? numbersIn(given, images.length) : undefined;
    if (typeof prompt !== 'string' || !texts(images) || !Array.isArray(ranks))
      throw bad(file, `record ${i}: expected a prompt, images, and a rank for each, found ${brief(row)}`);
    return { prompt, images, ranks };
  });
  const [folder, split] = [dirname(file), basename(file).replace(/\.json$/i, '')];
  const { kind, protocols } = form;
  return { kind, files: [file], split, protocols, records, image: (name) => form.image(folder, split, name) };
}

/** Reads small columns alone: the images beside them are hundreds of megabytes. */
async function readChoices(files: string[]): Promise<JudgedList> {
  const records: JudgedChoice[] = [];
  for (const path of files) {
    const file = await ParquetFile.open(path);
    try {
      file.expectColumns(['caption', 'label_0']);
      for (let group = 0; group < file.groups.length; group++)
        for (const row of await file.read(group, ['caption', 'label_0', 'has_label'])) {
          const choice = choiceIn(row);
          records.push({ prompt: textIn(row.caption) ?? '', label: choice === UNCLEAR ? undefined : choice });
        }
    } finally {
      await file.close();
    }
  }
  return { kind: 'choices', files, protocols: ['strict', 'tie-aware'], records };
}

/** Throws DrmError BAD_FILE naming the file and the record. */
export function readJudgedList(files: string[]): Promise<JudgedList> | JudgedList {
  const [file = ''] = files;
  return /\.parquet$/i.test(file) ? readChoices(files) : readJsonList(file);
}

/** "hpdv3_test" is split test of HPDv3. */
export function splitKey(key: string): { set: string; split: string } | undefined {
  const set = knownSets().find((name) => key.startsWith(`${name}_`));
  return set === undefined ? undefined : { set, split: key.slice(set.length + 1) };
}

export const knownSets = (): string[] => Object.keys(PUBLISHED_SETS);

/** The list files of a set's split in `root`, which is the set's own folder or holds it. Throws DrmError BAD_FILE. */
export function findListFiles(root: string, set: string, split: string): string[] {
  const { folders, list } = PUBLISHED_SETS[set] as PublishedSet;
  for (const folder of [...folders.map((name) => join(root, name)), root].filter((folder) => existsSync(folder))) {
    const files = list.find(folder, split);
    if (files.length > 0) return files;
  }
  throw new DrmError(
    'BAD_FILE',
    `[eval] ${root}: expected the ${split} list of ${set} (${list.name(split)}) there or in ${folders[0]}/, found none; name its folder with --from DIR`,
    { file: root },
  );
}
