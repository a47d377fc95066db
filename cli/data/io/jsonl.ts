// Users' lists of records, however they are written: an object a line, one array of objects, or objects one after another.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { throwLack } from '../../common/errors.js';
import { decodeText, isObject, isUtf16, type JsonObject, parseJson } from '../../common/json.js';
import { type Form, formOf, LARGEST_RECORD } from '../../common/json_forms.js';
import { Drop } from './drop.js';
import { listRecords } from './json_list.js';

/** A line or a caption of more bytes is dropped, not read. */
export const LARGEST_LINE = LARGEST_RECORD;

/** Lines by line feed alone (JSON may hold U+2028); undefined for one that is too long to be a record. */
async function* linesOf(file: string): AsyncGenerator<Buffer | undefined> {
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

/** Undefined for a blank line. */
function parseLine(line: Buffer | undefined, where: string): JsonObject | Drop | undefined {
  if (line === undefined) return new Drop('bad_record', `${where}: longer than ${LARGEST_LINE} bytes`);
  let record: unknown;
  try {
    const text = decodeText(line);
    if (text.trim() === '') return undefined;
    record = parseJson(text);
  } catch (error) {
    return new Drop('bad_record', `${where}: ${(error as Error).message}`);
  }
  return isObject(record) ? record : new Drop('bad_record', `${where}: expected an object`);
}

/** Throws DrmError BAD_FILE when the file cannot be read, or is of another encoding. */
async function formOfFile(file: string): Promise<Form> {
  try {
    const handle = await open(file, 'r');
    try {
      for (let length = 1 << 16; ; length *= 16) {
        const head = Buffer.alloc(length);
        let have = 0;
        for (let got = 1; got > 0 && have < length; have += got)
          got = (await handle.read(head, have, length - have, have)).bytesRead;
        const whole = head.subarray(0, have);
        if (isUtf16(whole)) throw new Error('found UTF-16; save it as UTF-8');
        const form = formOf(whole);
        if (form !== undefined || have < length || length > LARGEST_RECORD) return form ?? 'lines';
      }
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw new DrmError('BAD_FILE', `[data] ${file}: expected a list of records, ${(error as Error).message}`, { file });
  }
}

export interface UserRecord {
  record: JsonObject | Drop;
  /** File and line, or file and place in the array. */
  where: string;
}

/** The records of a user's list; those that cannot be read are drops. Throws DrmError BAD_FILE for what is no list. */
export async function* recordsOf(file: string): AsyncGenerator<UserRecord> {
  const name = basename(file);
  if ((await formOfFile(file)) === 'list') {
    for await (const { row, value } of listRecords(file))
      yield {
        where: `${name}, record ${row}`,
        record: value instanceof Drop ? new Drop(value.reason, `${name}, ${value.detail}`) : value,
      };
    return;
  }
  let number = 0;
  for await (const line of linesOf(file)) {
    number += 1;
    const where = `${name}, line ${number}`;
    const record = parseLine(line, where);
    if (record !== undefined) yield { record, where }; // a blank line is no record
  }
}

/** One pass over the list: its hash and, where a line is a record, how many there are but for blank ones. */
export async function survey(file: string): Promise<{ sha256: string; total?: number }> {
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
  const isLines = (await formOfFile(file)) === 'lines';
  return { sha256: hash.digest('hex'), ...(isLines && { total: lines }) };
}
