// A user's own preference pairs: JSONL, a line {"prompt": ..., "chosen": "a.jpg", "rejected": "b.jpg"} each.
import { basename, dirname, resolve } from 'node:path';
import { linesOf, parseRecord, survey } from './jsonl.js';
import type { PairFields } from './pair.js';
import { GuardedPictures, PictureFolder } from './pictures_at.js';
import { type ListedPair, listedSource, type PairSetOptions } from './sets/listed.js';
import { Drop, type Source } from './source.js';
import { CAPTION, fieldOf, splitOfCaption } from './user_pictures.js';

export interface UserPairOptions extends Omit<PairSetOptions, 'from' | 'split'> {
  holdOut: number;
  minConfidence: number | undefined;
}

/** Is the first record of a list a pair? */
export async function holdsPairs(file: string): Promise<boolean> {
  for await (const line of linesOf(file)) {
    const record = parseRecord(line, file);
    if (record === undefined || record instanceof Drop) continue;
    return record.chosen !== undefined || record.rejected !== undefined;
  }
  return false;
}

/** What a line may say of a pair beside its pictures, and how each must look. */
const FIELDS: Record<string, (value: unknown) => boolean> = {
  source: (value) => typeof value === 'string' && value !== '' && !value.includes('\n'),
  confidence: Number.isFinite,
  chosen_model: (value) => typeof value === 'string',
  rejected_model: (value) => typeof value === 'string',
  group: (value) => typeof value === 'string',
  kind: (value) => typeof value === 'string',
  grade: Number.isFinite,
};

export async function userPairSource(file: string, options: UserPairOptions): Promise<Source> {
  const { sha256, lines } = await survey(file);
  const pictures = new GuardedPictures(new PictureFolder(resolve(options.images ?? dirname(file))), file);
  const name = basename(file).replace(/\.jsonl?$/, '');
  const pairOf = (record: Record<string, unknown>, where: string, row: number): ListedPair | Drop => {
    const { chosen, rejected } = record;
    const prompt = record[fieldOf(record, CAPTION) ?? 'prompt'];
    if (typeof prompt !== 'string') return new Drop('no_caption', where);
    if (typeof chosen !== 'string' || typeof rejected !== 'string' || chosen === '' || rejected === '')
      return new Drop('bad_record', `${where}: expected "chosen" and "rejected" to name pictures`);
    if (record.tie === true && !options.keepTies) return new Drop('tie', where);
    const split = record.split ?? splitOfCaption(prompt, options.holdOut);
    if (typeof split !== 'string' || !/^[a-z0-9][a-z0-9_-]{0,31}$/i.test(split))
      return new Drop('bad_split', `${where}: ${JSON.stringify(split)}`);
    const fields: PairFields = { prompt, source: name, ...(record.tie === true && { tie: true }), row, places: [0, 1] };
    for (const [field, isRight] of Object.entries(FIELDS)) {
      const value = record[field];
      if (value === undefined || value === null) continue;
      if (!isRight(value)) return new Drop('bad_record', `${where}: ${field} is ${JSON.stringify(value)}`);
      Object.assign(fields, { [field]: value });
    }
    if ((fields.confidence ?? Number.POSITIVE_INFINITY) < (options.minConfidence ?? 0))
      return new Drop('low_confidence', `${where}: ${fields.confidence}`);
    return { split, fields, chosen, rejected, pictures };
  };
  async function* all(): AsyncGenerator<ListedPair | Drop> {
    let number = 0;
    let row = 0;
    for await (const line of linesOf(file)) {
      number += 1;
      const where = `${basename(file)}, line ${number}`;
      const record = parseRecord(line, where);
      if (record === undefined) continue; // a blank line is no record
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
    total: lines,
    pairs: all,
    stores: [pictures],
  });
}
