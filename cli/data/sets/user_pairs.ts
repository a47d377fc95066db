// A user's own preference pairs: a list of {"prompt": ..., "chosen": "a.jpg", "rejected": "b.jpg"}.
import { basename, dirname, resolve } from 'node:path';
import { Drop } from '../io/drop.js';
import { recordsOf, survey } from '../io/jsonl.js';
import type { PairFields } from '../prepared/pair.js';
import type { Source } from '../prepared/source.js';
import { Fields, flagIn, numberIn, type Stated, UNCLEAR } from './fields.js';
import { GuardedImages, ImageFolder } from './images_at.js';
import { type ListedPair, listedSource, type PairSetOptions } from './listed.js';
import { CAPTION, fieldOf, IMAGE, namesPair, SPLIT, splitOfCaption } from './user_fields.js';

export interface UserPairOptions extends Omit<PairSetOptions, 'from' | 'split'> {
  holdOut: number;
  minConfidence: number | undefined;
}

/** Does a list hold pairs, by its first record that names an image? Null is absent. */
export async function holdsPairs(file: string): Promise<boolean> {
  for await (const { record } of recordsOf(file)) {
    if (record instanceof Drop) continue;
    if (namesPair(record)) return true;
    if (fieldOf(record, IMAGE) !== undefined) return false;
  }
  return false;
}

const word = (value: unknown): Stated<string> =>
  value === undefined || value === null ? undefined : typeof value === 'string' ? value : UNCLEAR;

/** What a record may say of a pair beside its images. */
const FIELDS: Record<string, (value: unknown) => Stated<unknown>> = {
  source: (value) => (value === '' || String(value).includes('\n') ? UNCLEAR : word(value)),
  confidence: numberIn,
  chosen_model: word,
  rejected_model: word,
  group: (value) => (typeof value === 'number' ? String(value) : word(value)),
  kind: word,
  grade: numberIn,
};

export async function userPairSource(file: string, options: UserPairOptions): Promise<Source> {
  const { sha256, total } = await survey(file);
  const images = new GuardedImages(new ImageFolder(resolve(options.images ?? dirname(file))), file);
  const name = basename(file).replace(/\.jsonl?$/i, '');
  const pairOf = (record: Record<string, unknown>, where: string, row: number): ListedPair | Drop => {
    const { chosen, rejected } = record;
    const prompt = record[fieldOf(record, CAPTION) ?? 'prompt'];
    if (typeof prompt !== 'string') return new Drop('no_caption', where);
    if (typeof chosen !== 'string' || typeof rejected !== 'string' || chosen === '' || rejected === '')
      return new Drop('bad_record', `${where}: expected "chosen" and "rejected" to name images`);
    const given = new Fields(record, where);
    const isTie = given.take('tie', flagIn) === true;
    if (isTie && !options.keepTies) return new Drop('tie', where);
    const split = record.split ?? splitOfCaption(prompt, options.holdOut);
    if (typeof split !== 'string' || !SPLIT.test(split))
      return new Drop('bad_split', `${where}: ${JSON.stringify(split)}`);
    const fields: PairFields = { prompt, source: name, ...(isTie && { tie: true }), row, places: [0, 1] };
    for (const [field, read] of Object.entries(FIELDS)) {
      const value = given.take(field, read);
      if (value !== undefined) Object.assign(fields, { [field]: value });
    }
    if (given.fault) return given.fault;
    if ((fields.confidence ?? Number.POSITIVE_INFINITY) < (options.minConfidence ?? 0))
      return new Drop('low_confidence', `${where}: ${fields.confidence}`);
    return { split, fields, chosen, rejected, images };
  };
  async function* all(): AsyncGenerator<ListedPair | Drop> {
    let row = 0;
    for await (const { record, where } of recordsOf(file)) {
      yield record instanceof Drop ? record : pairOf(record, where, row);
      row += 1;
    }
  }
  return listedSource(options, {
    notes: [{ name }],
    settings: {
      source: 'jsonl',
      input: basename(file),
      input_sha256: sha256,
      ...(options.holdOut > 0 && { hold_out: options.holdOut }),
      ...(options.minConfidence !== undefined && { min_confidence: options.minConfidence }),
      ...(options.keepTies && { ties: true }),
    },
    ...(total !== undefined && { total }),
    pairs: all,
    stores: [images],
  });
}
