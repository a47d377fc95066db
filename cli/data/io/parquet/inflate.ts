// The codecs of Parquet pages as streams.
import { createBrotliDecompress, createGunzip } from 'node:zlib';
import { Decompress } from 'fzstd';
import { through } from '../streams.js';
import { unsnappy } from './snappy.js';

type Chunks = AsyncIterable<Uint8Array>;

async function* unzstd(chunks: Chunks): AsyncGenerator<Uint8Array> {
  let ready: Uint8Array[] = [];
  const stream = new Decompress((part) => ready.push(part));
  for await (const chunk of chunks) {
    stream.push(chunk);
    yield* ready;
    ready = [];
  }
  stream.push(new Uint8Array(0), true);
  yield* ready;
}

const LARGEST_WHOLE = 256 << 20;

/** These have no form that can be read piecewise: one page is held. */
async function* whole(chunks: Chunks, codec: 'LZ4' | 'LZ4_RAW', size: number): AsyncGenerator<Uint8Array> {
  if (!(size <= LARGEST_WHOLE)) throw new Error(`a page of ${size} bytes in ${codec}; write it with another codec`);
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  const { compressors } = await import('hyparquet-compressors');
  yield (compressors[codec] as (input: Uint8Array, size: number) => Uint8Array)(Buffer.concat(parts), size);
}

/** Passes chunks on, up to so many bytes. */
async function* atMost(size: number, chunks: Chunks): AsyncGenerator<Uint8Array> {
  let left = size;
  for await (const chunk of chunks) {
    left -= chunk.length;
    if (left < 0) throw new Error('a page is larger than it says');
    yield chunk;
  }
}

/** `size` is that of the result. Throws a plain sentence for a codec that is not known, or data that is not of it. */
export const inflate = (codec: string, chunks: Chunks, size: number): Chunks =>
  atMost(size, inflated(codec, chunks, size));

function inflated(codec: string, chunks: Chunks, size: number): Chunks {
  switch (codec) {
    case 'UNCOMPRESSED':
      return chunks;
    case 'SNAPPY':
      return unsnappy(chunks);
    case 'ZSTD':
      return unzstd(chunks);
    case 'GZIP':
      return through(chunks, createGunzip());
    case 'BROTLI':
      return through(chunks, createBrotliDecompress());
    case 'LZ4':
    case 'LZ4_RAW':
      return whole(chunks, codec, size);
    default:
      throw new Error(`its codec ${codec} is not known`);
  }
}
