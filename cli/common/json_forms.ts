// The forms in which lists are written as JSON: one array, a value a line, or objects one after another.
import { decodeText, parseJson } from './json.js';

/** An object of more bytes is passed over. */
export const LARGEST_RECORD = 16 << 20;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** The bytes of an object; undefined where they are more than LARGEST_RECORD. */
export interface Cut {
  /** Place of its first byte in the list, and of the one after its last. */
  start: number;
  end: number;
  bytes: Buffer | undefined;
}

const isMark = (bytes: Uint8Array): boolean => bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;

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

export type Form = 'lines' | 'list';

const isBlank = (byte: number | undefined): boolean => byte !== undefined && byte <= 0x20;

/**
 * How a list that begins like this is written: line by line, so that a bad one spoils no other, unless it is an array of
 * objects, or its first object has several lines, or another one on its own. Undefined: the first object goes on after
 * these bytes.
 */
export function formOf(head: Buffer): Form | undefined {
  let first = isMark(head) ? 3 : 0;
  while (isBlank(head[first])) first += 1;
  if (head[first] === 0x5b) {
    do first += 1;
    while (isBlank(head[first]));
    return first === head.length || head[first] === 0x7b || head[first] === 0x5d ? 'list' : 'lines';
  }
  if (head[first] !== 0x7b) return 'lines';
  const [cut] = new ObjectCutter().push(head.subarray(first));
  if (!cut) return undefined;
  let next = first + cut.end;
  while (head[next] === 0x20 || head[next] === 0x09) next += 1;
  if (cut.bytes === undefined || (head[next] !== OPEN && !cut.bytes.includes(10))) return 'lines';
  try {
    parseJson(decodeText(cut.bytes));
    return 'list';
  } catch {
    return 'lines'; // a line that was cut off, and took the next ones with it
  }
}

export interface JsonValue {
  value: unknown;
  /** "line 3", or "record 2", from 0, of an array. */
  where: string;
}

/** Throws a plain sentence naming the place. */
function valueAt(where: string, text: string): JsonValue {
  try {
    return { value: parseJson(text), where };
  } catch (error) {
    throw new Error(`${where}: expected JSON (${(error as Error).message})`);
  }
}

/** The values of a list that is at hand as a whole, whatever they are. Throws a plain sentence naming the place. */
export function jsonValues(text: string): JsonValue[] {
  if (/^\ufeff?\s*\[/.test(text)) {
    const { value } = valueAt('the array', text);
    return (value as unknown[]).map((one, i) => ({ value: one, where: `record ${i}` }));
  }
  const bytes = Buffer.from(text);
  if (formOf(bytes) === 'list') {
    const cutter = new ObjectCutter();
    let cuts: Cut[];
    try {
      cuts = [...cutter.push(bytes)];
      cutter.end();
    } catch (error) {
      throw new Error(`byte ${cutter.at}: ${(error as Error).message}`);
    }
    return cuts.map((cut, i) => valueAt(`record ${i}`, decodeText(cut.bytes ?? new Uint8Array())));
  }
  return text.split(/\r\n|\n|\r/).flatMap((line, i) => (line.trim() === '' ? [] : [valueAt(`line ${i + 1}`, line)]));
}
