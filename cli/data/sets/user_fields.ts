// What the fields of users' own records are called, and which split a record without one is in.
import { createHash } from 'node:crypto';

/** Names under which data sets keep the same thing, the first one that is there counts. */
export const CAPTION = ['caption', 'text', 'prompt'];
export const IMAGE = ['image', 'file_name'];
export const fieldOf = (record: Record<string, unknown>, names: string[]): string | undefined =>
  names.find((name) => record[name] !== undefined && record[name] !== null);

/** Whether a record speaks of a preference pair. Null is absent. */
export const namesPair = (record: Record<string, unknown>): boolean =>
  fieldOf(record, ['chosen', 'rejected']) !== undefined;

/** What a record may call its split. */
export const SPLIT = /^[a-z0-9][a-z0-9_-]{0,31}$/i;

/** By caption, so that images of one caption stay together. */
export function splitOfCaption(caption: string, holdOut: number): string {
  return createHash('sha256').update(caption).digest().readUInt32BE(0) % 100 < holdOut ? 'test' : 'train';
}
