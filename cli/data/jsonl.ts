// Users' lists: an object a line.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { DrmError } from '../../binding/error.js';
import { throwLack } from '../errors.js';
import { Drop } from './source.js';

/** A line or a caption of more bytes is dropped, not read. */
export const LARGEST_LINE = 16 << 20;

/** Lines by line feed alone (JSON may hold U+2028); undefined for one that is too long to be a record. */
export async function* linesOf(file: string): AsyncGenerator<Buffer | undefined> {
  let parts: Buffer[] = [];
  let length = 0;
  const take = () => {
    const line = length > LARGEST_LINE ? undefined : Buffer.concat(parts);
    parts = [];
    length = 0;
    return line;
  };
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 18 }) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      length += end - start;
      parts.push(chunk.subarray(start, end));
      start = end + 1;
      yield take();
    }
    length += chunk.length - start;
    if (length <= LARGEST_LINE) parts.push(chunk.subarray(start));
    else parts = [];
  }
  if (length > 0) yield take();
}

export const utf8 = new TextDecoder('utf-8', { fatal: true }); // drops a byte order mark, too

export function parseRecord(line: Buffer | undefined, where: string): Record<string, unknown> | Drop | undefined {
  if (line === undefined) return new Drop('bad_record', `${where}: longer than ${LARGEST_LINE} bytes`);
  let record: unknown;
  try {
    const text = utf8.decode(line);
    if (text.trim() === '') return undefined;
    record = JSON.parse(text);
  } catch (error) {
    return new Drop('bad_record', `${where}: ${(error as Error).message}`);
  }
  if (typeof record !== 'object' || record === null || Array.isArray(record))
    return new Drop('bad_record', `${where}: expected an object`);
  return record as Record<string, unknown>;
}

/** One pass over the list: its hash and how many lines there are. */
export async function survey(file: string): Promise<{ sha256: string; lines: number }> {
  const hash = createHash('sha256');
  let lines = 0;
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines += 1;
    }
  } catch (error) {
    throwLack(error);
    throw new DrmError('BAD_FILE', `[data] ${file}: cannot be read: ${(error as Error).message}`, { file });
  }
  return { sha256: hash.digest('hex'), lines };
}
