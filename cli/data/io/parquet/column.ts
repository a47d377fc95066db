// A column of byte arrays, value by value: pages are decompressed as they are read, so that neither the size of a row
// group nor that of a page is in memory. Dictionaries are kept, in a file when they are large.
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readRleBitPackedHybrid } from 'hyparquet/src/encoding.js';
import { ByteReader } from '../byte_reader.js';
import { checkRuns } from './bounds.js';
import { inflate } from './inflate.js';
import { headerAt, type Pages, readerOf } from './pages.js';

/** A value longer than this is passed over. */
export const LARGEST_VALUE = 128 << 20;
/** Levels and places in a dictionary of a page, of MOST_ROWS values at most. */
const LARGEST_LEVELS = 16 << 20;
/** A larger dictionary goes to a temporary file. */
const DICTIONARY_IN_MEMORY = 32 << 20;

export interface ColumnChunk extends Pages {
  rows: number;
  /** Read at a time. */
  chunk: number;
  codec: string;
  /** Its highest definition level, which a value has: 0 where every row has one, 1 where it may be null, more in structs. */
  level: number;
  damaged(error: unknown): Error;
}

/** A value; undefined for null, a number of bytes for one that is too large to be read. */
export type BinaryValue = Buffer | number | undefined;

class Dictionary {
  readonly #ends: number[] = [];
  #parts: Buffer[] = [];
  #inMemory = 0;
  #size = 0;
  #file: { handle: FileHandle; folder: string } | undefined;
  readonly #tooLarge = new Map<number, number>();

  async add(value: BinaryValue): Promise<void> {
    if (typeof value === 'number') this.#tooLarge.set(this.#ends.length, value);
    const bytes = Buffer.isBuffer(value) ? value : Buffer.alloc(0);
    this.#size += bytes.length;
    this.#ends.push(this.#size);
    this.#parts.push(bytes);
    this.#inMemory += bytes.length;
    if (this.#inMemory > DICTIONARY_IN_MEMORY) await this.#spill();
  }

  async #spill(): Promise<void> {
    if (!this.#file) {
      const folder = await mkdtemp(join(tmpdir(), 'drm-dictionary-'));
      this.#file = { handle: await open(join(folder, 'values'), 'wx+'), folder };
      await rm(folder, { recursive: true }); // the open file lives on, and goes when the process does
    }
    for (const part of this.#parts) await this.#file.handle.appendFile(part);
    this.#parts = [];
    this.#inMemory = 0;
  }

  /** Call after the last add(). */
  async seal(): Promise<void> {
    if (this.#file) await this.#spill();
  }

  async get(index: number): Promise<BinaryValue> {
    const end = this.#ends[index];
    if (end === undefined) throw new Error(`value ${index} is not in a dictionary of ${this.#ends.length}`);
    const tooLarge = this.#tooLarge.get(index);
    if (tooLarge !== undefined) return tooLarge;
    if (!this.#file) return this.#parts[index];
    const start = index === 0 ? 0 : (this.#ends[index - 1] as number);
    const bytes = Buffer.allocUnsafeSlow(end - start);
    for (let have = 0; have < bytes.length; ) {
      const { bytesRead } = await this.#file.handle.read(bytes, have, bytes.length - have, start + have);
      if (bytesRead === 0) throw new Error('the temporary copy of a dictionary is cut off');
      have += bytesRead;
    }
    return bytes;
  }

  async close(): Promise<void> {
    await this.#file?.handle.close();
  }
}

/** The values of one data page that are still to come. */
interface Page {
  rows: number;
  /** Of each row: is there a value? Undefined: of every one. */
  defined: Uint8Array | undefined;
  values: { kind: 'plain'; bytes: ByteReader } | { kind: 'dictionary'; indices: Uint32Array; next: number };
  row: number;
}

export class BinaryColumn {
  #at = 0;
  #row = 0;
  #dictionary: Dictionary | undefined;
  #page: Page | undefined;

  constructor(private readonly chunk: ColumnChunk) {}

  /** The value of a row of the row group; rows must be asked for in order. */
  async at(row: number): Promise<BinaryValue> {
    try {
      for (; this.#row < row; this.#row++) await this.#next(false);
      this.#row += 1;
      return await this.#next(true);
    } catch (error) {
      throw this.chunk.damaged(error);
    }
  }

  async #next(isWanted: boolean): Promise<BinaryValue> {
    while (!this.#page || this.#page.row === this.#page.rows) await this.#nextPage();
    const page = this.#page;
    const row = page.row++;
    if (page.defined && page.defined[row] === 0) return undefined;
    const { values } = page;
    if (values.kind === 'plain') return readPlain(values.bytes, isWanted);
    const index = values.indices[values.next++] as number;
    return isWanted ? this.#dictionary?.get(index) : undefined;
  }

  async #nextPage(): Promise<void> {
    if (this.#page?.values.kind === 'plain') await this.#page.values.bytes.close();
    if (this.#at >= this.chunk.bytes) throw new Error('it has fewer values than rows');
    const { header, body: start, end } = await headerAt(this.chunk, this.#at);
    const counts = [header.dictionary_page_header, header.data_page_header, header.data_page_header_v2];
    if (counts.some((part) => part && part.num_values > this.chunk.rows))
      throw new Error('a page has more values than there are rows');
    const body = (from: number) => this.#chunks(start + from, end);
    const size = header.uncompressed_page_size;
    const { codec, level } = this.chunk;
    if (header.dictionary_page_header) {
      const bytes = new ByteReader(inflate(codec, body(0), size));
      this.#dictionary = new Dictionary();
      for (let i = 0; i < header.dictionary_page_header.num_values; i++)
        await this.#dictionary.add(await readPlain(bytes, true));
      await this.#dictionary.seal();
      await bytes.close();
    } else if (header.data_page_header) {
      const { num_values: rows, encoding } = header.data_page_header;
      const bytes = new ByteReader(inflate(codec, body(0), size));
      const levels = level > 0 ? await readLevels(bytes) : undefined;
      this.#page = await this.#pageOf(rows, encoding, definedOf(levels, rows, level), bytes);
    } else if (header.data_page_header_v2) {
      const v2 = header.data_page_header_v2;
      const skipped = v2.repetition_levels_byte_length ?? 0;
      const levelBytes = v2.definition_levels_byte_length ?? 0;
      const levels = await this.chunk.read(start + skipped, levelBytes);
      const rest = body(skipped + levelBytes);
      const bytes = new ByteReader(
        v2.is_compressed === false ? rest : inflate(codec, rest, size - skipped - levelBytes),
      );
      const defined = level > 0 ? definedOf(levels, v2.num_values, level) : undefined;
      this.#page = await this.#pageOf(v2.num_values, v2.encoding, defined, bytes);
    }
    this.#at = end; // of an index page: passed over
  }

  async #pageOf(
    rows: number,
    encoding: string | undefined,
    defined: Uint8Array | undefined,
    bytes: ByteReader,
  ): Promise<Page> {
    if (encoding === 'PLAIN') return { rows, defined, values: { kind: 'plain', bytes }, row: 0 };
    if (encoding !== 'RLE_DICTIONARY' && encoding !== 'PLAIN_DICTIONARY')
      throw new Error(`expected plain or dictionary encoding, found ${encoding}`);
    const count = defined ? defined.reduce((sum, one) => sum + one, 0) : rows;
    const data = await bytes.rest(LARGEST_LEVELS);
    const indices = new Uint32Array(count);
    const width = data[0] ?? 0;
    checkRuns(data.subarray(1), width, count);
    if (width > 0) readRleBitPackedHybrid(readerOf(data.subarray(1)), width, indices, data.length - 1);
    return { rows, defined, values: { kind: 'dictionary', indices, next: 0 }, row: 0 };
  }

  async *#chunks(from: number, end: number): AsyncGenerator<Uint8Array> {
    for (let at = from; at < end; at += this.chunk.chunk)
      yield await this.chunk.read(at, Math.min(this.chunk.chunk, end - at));
  }

  async close(): Promise<void> {
    if (this.#page?.values.kind === 'plain') await this.#page.values.bytes.close();
    await this.#dictionary?.close();
  }
}

/** 1 where the level is that of a value; a lower one is null, there or in the struct around it. */
function definedOf(levels: Uint8Array | undefined, rows: number, level: number): Uint8Array | undefined {
  if (!levels) return undefined;
  const defined = new Uint8Array(rows);
  const width = 32 - Math.clz32(level);
  checkRuns(levels, width, rows);
  readRleBitPackedHybrid(readerOf(levels), width, defined, levels.length);
  return level === 1 ? defined : defined.map((found) => Number(found === level));
}

async function readLevels(bytes: ByteReader): Promise<Uint8Array> {
  const length = (await bytes.take(4)).readUInt32LE();
  if (length > LARGEST_LEVELS) throw new Error(`levels of ${length} bytes`);
  return bytes.take(length);
}

async function readPlain(bytes: ByteReader, isWanted: boolean): Promise<BinaryValue> {
  const length = (await bytes.take(4)).readUInt32LE();
  if (isWanted && length <= LARGEST_VALUE) return bytes.take(length);
  await bytes.skip(length);
  return isWanted ? length : undefined;
}
