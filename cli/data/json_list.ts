// Lists of records as JSON: one array of objects, which may be larger than a string can be, or an object a line. Objects
// are cut out by their bytes and parsed one by one.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { DrmError } from '../../binding/error.js';
import { throwLack } from '../errors.js';
import { Drop } from './source.js';

/** An object of more bytes is passed over. */
const LARGEST_RECORD = 16 << 20;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;

const utf8 = new TextDecoder('utf-8', { fatal: true });

export interface ListRecord {
  /** Its place in the list, from 0. */
  row: number;
  value: Record<string, unknown> | Drop;
}

/** Throws DrmError BAD_FILE naming the byte where the list is not one. */
export async function* listRecords(file: string): AsyncGenerator<ListRecord> {
  const bad = (at: number, what: string) =>
    new DrmError(
      'BAD_FILE',
      `[data] ${file}, byte ${at}: expected a JSON array of objects, ${what}; fetch the list again`,
      { file },
    );
  let base = 0; // where the chunk begins in the file
  let depth = 0; // of objects and of arrays within objects
  let inText = false;
  let isEscaped = false;
  let isArray: boolean | undefined; // known from the first byte
  let isOver = false;
  let row = 0;
  let start = 0; // of the object at hand
  let parts: Buffer[] = [];
  let length = 0;
  const parse = (): ListRecord => {
    const where = `record ${row} at byte ${start}`;
    const bytes = Buffer.concat(parts);
    parts = [];
    if (length > LARGEST_RECORD)
      return { row: row++, value: new Drop('bad_record', `${where}: ${length} bytes, more than ${LARGEST_RECORD}`) };
    let text: string;
    try {
      text = utf8.decode(bytes);
    } catch {
      return { row: row++, value: new Drop('bad_record', `${where}: not UTF-8`) };
    }
    try {
      return { row: row++, value: JSON.parse(text) as Record<string, unknown> };
    } catch (error) {
      throw bad(start, `found a malformed record (${(error as Error).message})`);
    }
  };
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    let from = depth > 0 ? 0 : -1; // where the object at hand begins or goes on in this chunk
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i] as number;
      if (inText) {
        if (isEscaped) isEscaped = false;
        else if (byte === BACKSLASH) isEscaped = true;
        else if (byte === QUOTE) inText = false;
      } else if (depth > 0) {
        if (byte === QUOTE) inText = true;
        else if (byte === OPEN || byte === 0x5b) depth += 1;
        else if (byte === CLOSE || byte === 0x5d) {
          depth -= 1;
          if (depth > 0) continue;
          length += i + 1 - from;
          parts.push(chunk.subarray(from, i + 1));
          from = -1;
          yield parse();
        }
      } else if (byte === OPEN && !isOver) {
        isArray ??= false;
        depth = 1;
        from = i;
        start = base + i;
        length = 0;
      } else if (byte === 0x5b && isArray === undefined) isArray = true;
      else if (byte === 0x5d && isArray && !isOver) isOver = true;
      else if (byte > 0x20 && !(byte === 0x2c && isArray && !isOver) && !(base === 0 && i < 3 && isMark(chunk)))
        throw bad(base + i, `found ${JSON.stringify(String.fromCharCode(byte))}`);
    }
    if (from >= 0) {
      length += chunk.length - from;
      if (length <= LARGEST_RECORD) parts.push(chunk.subarray(from));
      else parts = [];
    }
    base += chunk.length;
  }
  if (depth > 0 || (isArray && !isOver)) throw bad(base, 'found its end too early');
}

const isMark = (chunk: Buffer): boolean => chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf;

/** The sha256 of a file. Throws DrmError BAD_FILE when it cannot be read. */
export async function hashOfFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  } catch (error) {
    throwLack(error);
    throw new DrmError('BAD_FILE', `[data] ${file}: cannot be read: ${(error as Error).message}`, { file });
  }
  return hash.digest('hex');
}
