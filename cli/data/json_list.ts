// Lists of records as JSON: one array of objects, which may be larger than a string can be, or objects one after another.
// They are cut out by their bytes and parsed one by one.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { DrmError } from '../../binding/error.js';
import { decodeText, isUtf16, type JsonObject, parseJson } from '../json.js';
import { Drop } from './source.js';

/** An object of more bytes is passed over. */
export const LARGEST_RECORD = 16 << 20;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;

export interface ListRecord {
  /** Its place in the list, from 0. */
  row: number;
  value: JsonObject | Drop;
}

/** The bytes of an object; undefined where they are more than LARGEST_RECORD. */
export interface Cut {
  /** Place of its first byte in the list, and of the one after its last. */
  start: number;
  end: number;
  bytes: Buffer | undefined;
}

export const isMark = (bytes: Uint8Array): boolean => bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;

/** Cuts objects out of chunks. Throws a plain sentence for what is between them and should not be; `at` is its place. */
export class ObjectCutter {
  /** Bytes before the chunk at hand; after a failure the place of it. */
  at = 0;
  #depth = 0; // of objects and of arrays within objects
  #inText = false;
  #isEscaped = false;
  #isArray: boolean | undefined; // known from the first byte
  #isOver = false;
  #start = 0; // of the object at hand
  #parts: Buffer[] = [];
  #length = 0;

  *push(chunk: Buffer): Generator<Cut> {
    let from = this.#depth > 0 ? 0 : -1; // where the object at hand begins or goes on in this chunk
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i] as number;
      if (this.#inText) {
        if (this.#isEscaped) this.#isEscaped = false;
        else if (byte === BACKSLASH) this.#isEscaped = true;
        else if (byte === QUOTE) this.#inText = false;
      } else if (this.#depth > 0) {
        if (byte === QUOTE) this.#inText = true;
        else if (byte === OPEN || byte === 0x5b) this.#depth += 1;
        else if (byte === CLOSE || byte === 0x5d) {
          this.#depth -= 1;
          if (this.#depth > 0) continue;
          this.#take(chunk.subarray(from, i + 1));
          from = -1;
          const bytes = this.#length > LARGEST_RECORD ? undefined : Buffer.concat(this.#parts);
          this.#parts = [];
          yield { start: this.#start, end: this.at + i + 1, bytes };
        }
      } else if (byte === OPEN && !this.#isOver) {
        this.#isArray ??= false;
        this.#depth = 1;
        from = i;
        this.#start = this.at + i;
        this.#length = 0;
      } else if (byte === 0x5b && this.#isArray === undefined) this.#isArray = true;
      else if (byte === 0x5d && this.#isArray && !this.#isOver) this.#isOver = true;
      else if (byte > 0x20 && !this.#mayBe(byte) && !(this.at === 0 && i < 3 && isMark(chunk))) {
        this.at += i;
        throw new Error(`found ${JSON.stringify(String.fromCharCode(byte))}`);
      }
    }
    if (from >= 0) this.#take(chunk.subarray(from));
    this.at += chunk.length;
  }

  /** Between objects. */
  #mayBe(byte: number): boolean {
    return byte === 0x2c && this.#isArray === true && !this.#isOver;
  }

  #take(part: Buffer): void {
    this.#length += part.length;
    if (this.#length <= LARGEST_RECORD) this.#parts.push(part);
    else this.#parts = [];
  }

  /** Call after the last chunk. */
  end(): void {
    if (this.#depth > 0 || (this.#isArray && !this.#isOver)) throw new Error('found its end too early');
  }
}

/** Throws DrmError BAD_FILE naming the byte where the list is not one. */
export async function* listRecords(file: string): AsyncGenerator<ListRecord> {
  const bad = (at: number, what: string) =>
    new DrmError(
      'BAD_FILE',
      `[data] ${file}, byte ${at}: expected a JSON array of objects, ${what}; correct the list, or fetch it again`,
      { file },
    );
  const cutter = new ObjectCutter();
  let row = 0;
  const parse = ({ start, end, bytes }: Cut): ListRecord['value'] => {
    const where = `record ${row} at byte ${start}`;
    if (!bytes) return new Drop('bad_record', `${where}: ${end - start} bytes, more than ${LARGEST_RECORD}`);
    let text: string;
    try {
      text = decodeText(bytes);
    } catch (error) {
      return new Drop('bad_record', `${where}: ${(error as Error).message}`);
    }
    try {
      return parseJson(text) as JsonObject;
    } catch (error) {
      throw bad(start, `found a malformed record (${(error as Error).message})`);
    }
  };
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
      if (cutter.at === 0 && isUtf16(chunk)) throw new Error('found UTF-16; save it as UTF-8');
      for (const cut of cutter.push(chunk)) {
        yield { row, value: parse(cut) };
        row += 1;
      }
    }
    cutter.end();
  } catch (error) {
    throw error instanceof DrmError ? error : bad(cutter.at, (error as Error).message);
  }
}

/** The sha256 of a file. Throws DrmError BAD_FILE when it cannot be read. */
export async function hashOfFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  } catch (error) {
    throw new DrmError('BAD_FILE', `[data] ${file}: cannot be read: ${(error as Error).message}`, { file });
  }
  return hash.digest('hex');
}
