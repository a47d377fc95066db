// Members of tar archives, plain or gzipped, one archive in one file or cut into numbered parts. Names are labels only;
// nothing is ever written under them.
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { Parser, type ReadEntry } from 'tar';
import { throwLack } from '../errors.js';
import { Drop, LARGEST_FILE } from './source.js';

export interface Member {
  name: string;
  /** What was read, or why it was not. */
  bytes: Buffer | Drop;
}

/** The files' bytes, one after the other. */
export async function* chunksOf(files: readonly string[], onBytes?: (bytes: number) => void): AsyncGenerator<Buffer> {
  for (const file of files)
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 18 }) as AsyncIterable<Buffer>) {
      yield chunk;
      onBytes?.(chunk.length);
    }
}

/**
 * Members in order, those that are wanted. A damaged archive gives what precedes the damage, then a Drop. `name` is the
 * archive's, for messages.
 */
export async function* membersOf(
  chunks: AsyncIterable<Buffer>,
  name: string,
  isWanted: (member: string) => boolean = () => true,
): AsyncGenerator<Member | Drop> {
  const ready: Member[] = [];
  let damage: string | undefined;
  const parser = new Parser({
    // Links, folders and devices are passed over; an entry's size is only a claim until its bytes have come.
    onReadEntry: (entry: ReadEntry) => {
      if (damage !== undefined) return entry.resume(); // whatever follows a broken header is guesswork
      if (entry.type !== 'File' && entry.type !== 'OldFile' && entry.type !== 'ContiguousFile') return entry.resume();
      if (!isWanted(entry.path)) return entry.resume();
      if (entry.size > LARGEST_FILE) {
        ready.push({ name: entry.path, bytes: new Drop('too_large', `${name}, ${entry.path}: ${entry.size} bytes`) });
        return entry.resume();
      }
      const chunks: Buffer[] = [];
      let have = 0;
      entry.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        have += chunk.length;
      });
      entry.on('end', () => {
        if (have === entry.size) ready.push({ name: entry.path, bytes: Buffer.concat(chunks) });
      });
    },
    onwarn: (code: string, message: string) => {
      if (code !== 'TAR_ENTRY_INFO') damage ??= message;
    },
  });
  try {
    for await (const chunk of chunks) {
      if (!parser.write(chunk)) await once(parser, 'drain');
      yield* ready.splice(0);
      if (damage !== undefined) break;
    }
    if (damage === undefined) {
      const end = once(parser, 'end');
      parser.end();
      await end;
    }
  } catch (error) {
    throwLack(error);
    damage ??= (error as Error).message;
  }
  yield* ready.splice(0);
  if (damage !== undefined) yield new Drop('damaged_archive', `${name}: ${damage}`);
}
