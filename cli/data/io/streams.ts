// Node's transforms between asynchronous iterables.
import { Readable, type Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** What the transform makes of the chunks, as it is asked for. Ends both streams when the reader has enough. */
export async function* through(chunks: AsyncIterable<Uint8Array>, transform: Transform): AsyncGenerator<Uint8Array> {
  const source = Readable.from(chunks);
  const flow = pipeline(source, transform).catch(() => {}); // the transform is destroyed with the same error, below
  try {
    yield* transform as AsyncIterable<Uint8Array>;
  } finally {
    source.destroy();
    transform.destroy();
    await flow;
  }
}
