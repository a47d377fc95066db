// The pages of a column chunk: their headers, and small columns as a whole before the library decodes them.
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import type { Compressors } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { deltaBinaryUnpack } from 'hyparquet/src/delta.js';
import { snappyUncompress } from 'hyparquet/src/snappy.js';
import { checkDelta, checkRuns, checkThrift, MOST_ROWS } from './bounds.js';

export type PageHeader = ReturnType<typeof parquetHeader>;

/** Statistics make a page's header long, but not longer than this. */
const LARGEST_HEADER = 1 << 24;
/** Numbers, decimals and hashes are split into streams of bytes, nothing longer. */
const LONGEST_SPLIT = 64;
/** Of the small columns of a row group together, inflated. */
const LARGEST_COLUMNS = 256 << 20;

/** Bytes of a column chunk, which begins with its first page. */
export interface Pages {
  read(at: number, length: number): Promise<Uint8Array>;
  bytes: number;
}

export const readerOf = (bytes: Uint8Array) => ({
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  offset: 0,
});

/** The header at a place of the chunk, and the place of the page's body and of its end. */
export async function headerAt(pages: Pages, at: number): Promise<{ header: PageHeader; body: number; end: number }> {
  for (let length = 1 << 12; ; length *= 8) {
    const most = Math.min(length, pages.bytes - at);
    const bytes = await pages.read(at, most);
    const size = checkThrift(bytes);
    if (size === undefined) {
      if (length > LARGEST_HEADER || most < length) throw new Error('a page has no whole header');
      continue;
    }
    const header = parquetHeader(readerOf(bytes));
    const body = at + size;
    const end = body + header.compressed_page_size;
    if (!(end >= body && end <= pages.bytes)) throw new Error('a page reaches over its end');
    if (!(header.uncompressed_page_size >= 0)) throw new Error('a page has no size');
    const counts = [header.dictionary_page_header, header.data_page_header, header.data_page_header_v2];
    if (counts.some((part) => part && !(part.num_values >= 0 && part.num_values <= MOST_ROWS)))
      throw new Error('a page has more values than a row group can have rows');
    return { header, body, end };
  }
}

/** The codecs, none of which gives more than the size that was asked for. */
export async function codecs(): Promise<Compressors> {
  const { compressors } = await import('hyparquet-compressors');
  const most = (size: number) => ({ maxOutputLength: Math.max(1, size) });
  return {
    ...compressors,
    GZIP: (bytes, size) => gunzipSync(bytes, most(size)),
    BROTLI: (bytes, size) => brotliDecompressSync(bytes, most(size)),
    SNAPPY: (bytes, size) => {
      const out = new Uint8Array(size);
      snappyUncompress(bytes, out);
      return out;
    },
  };
}

export interface SmallColumn extends Pages {
  rows: number;
  codec: string;
  /** Highest definition and repetition levels. */
  definition: number;
  repetition: number;
  type: string | undefined;
  /** Of values of fixed length. */
  length: number;
}

const widthOf = (level: number): number => 32 - Math.clz32(level);

/**
 * Goes through all pages of a column that is to be decoded whole. `budget` is shared by the columns of a row group.
 * Throws a plain sentence where decoding would not end, or take more memory than the pages say.
 */
export async function checkSmallColumn(column: SmallColumn, budget: { left: number }): Promise<void> {
  const compressors = await codecs();
  const tooLarge = () =>
    new Error(`its small columns hold more than ${LARGEST_COLUMNS} bytes; write smaller row groups`);
  if (column.bytes > LARGEST_COLUMNS) throw tooLarge();
  let values = 0;
  for (let at = 0; at < column.bytes - 1; ) {
    const { header, body, end } = await headerAt(column, at);
    budget.left -= header.uncompressed_page_size;
    if (budget.left < 0) throw tooLarge();
    const bytes = await column.read(body, end - body);
    const inflate = (part: Uint8Array, size: number): Uint8Array => {
      if (column.codec === 'UNCOMPRESSED') return part;
      const codec = compressors[column.codec as keyof Compressors];
      if (!codec) throw new Error(`its codec ${column.codec} is not known`);
      if (!(size >= 0)) throw new Error('a page has no size');
      return codec(part, size);
    };
    const { data_page_header: v1, data_page_header_v2: v2 } = header;
    if (v1) {
      values += v1.num_values;
      let page = inflate(bytes, header.uncompressed_page_size);
      for (const level of [column.repetition, column.definition])
        if (level > 0) page = checkLevels(page, level, v1.num_values);
      checkValues(page, v1.encoding, v1.num_values, column);
    } else if (v2) {
      values += v2.num_values;
      const repetition = v2.repetition_levels_byte_length ?? 0;
      const levels = repetition + (v2.definition_levels_byte_length ?? 0);
      if (!(repetition >= 0 && levels >= repetition && levels <= bytes.length))
        throw new Error('levels without an end');
      if (!(v2.num_nulls >= 0 && v2.num_nulls <= v2.num_values)) throw new Error('a page has more nulls than values');
      checkRuns(bytes.subarray(0, repetition), widthOf(column.repetition), v2.num_values);
      checkRuns(bytes.subarray(repetition, levels), widthOf(column.definition), v2.num_values);
      const rest = bytes.subarray(levels);
      const page = v2.is_compressed === false ? rest : inflate(rest, header.uncompressed_page_size - levels);
      checkValues(page, v2.encoding, v2.num_values, column);
    }
    if (values > MOST_ROWS) throw new Error(`it has more than ${MOST_ROWS} values`);
    at = end;
  }
  if (column.repetition === 0 && values < column.rows) throw new Error('it has fewer values than rows');
}

export const smallColumnsBudget = () => ({ left: LARGEST_COLUMNS });

/** A part that begins with its length, and what follows it. */
function partOf(page: Uint8Array): [part: Uint8Array, rest: Uint8Array] {
  if (page.length < 4) throw new Error('a page ends before its levels');
  const length = new DataView(page.buffer, page.byteOffset).getUint32(0, true);
  if (length > page.length - 4) throw new Error('levels without an end');
  return [page.subarray(4, 4 + length), page.subarray(4 + length)];
}

function checkLevels(page: Uint8Array, level: number, count: number): Uint8Array {
  const [levels, rest] = partOf(page);
  checkRuns(levels, widthOf(level), count);
  return rest;
}

function checkValues(page: Uint8Array, encoding: string | undefined, count: number, column: SmallColumn): void {
  switch (encoding) {
    case 'PLAIN_DICTIONARY':
    case 'RLE_DICTIONARY':
      if (page.length > 0) checkRuns(page.subarray(1), page[0] as number, count);
      return;
    case 'RLE':
      if (page.length > 0) checkRuns(partOf(page)[0], 1, count);
      return;
    case 'DELTA_BINARY_PACKED':
    case 'DELTA_LENGTH_BYTE_ARRAY':
      checkDelta(page);
      return;
    case 'DELTA_BYTE_ARRAY': {
      // Each value repeats the beginning of the one before, so that few bytes can stand for many.
      const reader = readerOf(page);
      let total = 0;
      for (let i = 0; i < 2; i++) {
        const lengths = new Int32Array(Math.min(count, checkDelta(page.subarray(reader.offset))));
        deltaBinaryUnpack(reader, lengths.length, lengths);
        total = lengths.reduce((sum, length) => sum + Math.abs(length), total);
      }
      if (total > LARGEST_COLUMNS) throw new Error(`its values hold more than ${LARGEST_COLUMNS} bytes`);
      return;
    }
    case 'BYTE_STREAM_SPLIT':
      if (column.length > LONGEST_SPLIT) throw new Error(`values of ${column.length} bytes`);
  }
}
