// Members of tar archives, plain or gzipped, one archive in one file or cut into numbered parts. Names are labels only;
// nothing is ever written under them, and links lead to members of the archive or nowhere.
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { posix } from 'node:path';
import { createGunzip } from 'node:zlib';
import { Parser, type ReadEntry } from 'tar';
import { DrmError } from '../../../binding/error.js';
import { throwLack } from '../../common/errors.js';
import { Drop, LARGEST_FILE } from './drop.js';
import { through } from './streams.js';

export interface Member {
  name: string;
  /** What was read, or why it was not; undefined when only the name was asked for. */
  bytes: Buffer | Drop | undefined;
}

/** No file system has longer paths; a header may hold a megabyte, and all its parts would be looked up. */
const LONGEST_NAME = 4096;

/** A member that stands for another one, as hard and symbolic links do. */
export class Link {
  constructor(
    readonly name: string,
    /** The path of the other one in the archive. Undefined where it leads out of the archive. */
    readonly target: string | undefined,
  ) {}
}

/** The files' bytes, one after the other. */
export async function* chunksOf(files: readonly string[], onBytes?: (bytes: number) => void): AsyncGenerator<Buffer> {
  for (const file of files)
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 18 }) as AsyncIterable<Buffer>) {
      yield chunk;
      onBytes?.(chunk.length);
    }
}

/** Inflates what is gzipped, so much at a time that small files cannot become large memory. */
async function* inflated(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = chunks[Symbol.asyncIterator]();
  try {
    const first = await source.next();
    if (first.done) return;
    const all = async function* () {
      yield first.value;
      for (let next = await source.next(); !next.done; next = await source.next()) yield next.value;
    };
    const isGzip = first.value[0] === 0x1f && first.value[1] === 0x8b;
    yield* isGzip ? through(all(), createGunzip({ chunkSize: 1 << 17 })) : all();
  } finally {
    await source.return?.();
  }
}

/** A path in the archive without `.`, `..` and the slash at its beginning. Undefined where it leads out of the archive. */
function pathInArchive(path: string): string | undefined {
  const plain = posix.normalize(path).replace(/\/+$/, '');
  return plain === '..' || plain.startsWith('../') || plain.startsWith('/') ? undefined : plain;
}

/** A member's path in the form of a link's target. */
export const memberPath = (name: string): string => pathInArchive(name.replace(/^\/+/, '')) ?? name;

function linkOf({ path, linkpath = '', type }: ReadEntry): Link {
  // A symbolic link is seen from its own folder, a hard one from the archive's.
  if (type !== 'SymbolicLink') return new Link(path, pathInArchive(linkpath.replace(/^\/+/, '')));
  return new Link(
    path,
    linkpath.startsWith('/') ? undefined : pathInArchive(posix.join(memberPath(path), '..', linkpath)),
  );
}

const isFile = (type: string): boolean => type === 'File' || type === 'OldFile' || type === 'ContiguousFile';

/**
 * Members in order, those that are wanted. A damaged archive gives what precedes the damage, then a Drop. `name` is the
 * archive's, for messages.
 */
export async function* membersOf(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
  isWanted: (member: string) => boolean | 'name' = () => true,
): AsyncGenerator<Member | Link | Drop> {
  const ready: (Member | Link | Drop)[] = [];
  let damage: string | undefined;
  let isOver = false;
  const parser = new Parser({
    // Folders and devices are passed over; an entry's size is only a claim until its bytes have come.
    onReadEntry: (entry: ReadEntry) => {
      if (damage !== undefined) return entry.resume(); // whatever follows a broken header is guesswork
      const isLink = entry.type === 'Link' || entry.type === 'SymbolicLink';
      const wanted = (isFile(entry.type) || isLink) && entry.path.length <= LONGEST_NAME && isWanted(entry.path);
      if (wanted === false) return entry.resume();
      if (isLink || wanted === 'name') {
        ready.push(isLink ? linkOf(entry) : { name: entry.path, bytes: undefined });
        return entry.resume();
      }
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
    onwarn: (code: string, message: string, data: object) => {
      // An archive of nothing but its end is not recognized by the parser, and no damage.
      if (code !== 'TAR_ENTRY_INFO' && !(code === 'TAR_BAD_ARCHIVE' && isOver && !('entry' in data)))
        damage ??= message;
    },
  });
  for (const end of ['nullBlock', 'eof'])
    parser.on(end, () => {
      isOver = true;
    });
  try {
    for await (const chunk of inflated(chunks)) {
      if (!parser.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length))) await once(parser, 'drain');
      yield* ready.splice(0);
      if (damage !== undefined) break;
    }
    if (damage === undefined) {
      const end = once(parser, 'end');
      parser.end();
      await end;
    }
  } catch (error) {
    if (error instanceof DrmError) throw error;
    throwLack(error);
    damage ??= (error as Error).message;
  }
  yield* ready.splice(0);
  if (damage !== undefined) yield new Drop('damaged_archive', `${name}: ${damage}`);
}
