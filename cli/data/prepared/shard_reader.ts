// Prepared shards, read back: the walk over a shard's headers when a set is opened, and reads at places when it is used.
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, existsSync, openSync, readSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { throwLack } from '../../common/errors.js';
import { decodeText, isObject, type JsonObject, parseJson } from '../../common/json.js';
import { brief, type Shape } from '../../common/shape.js';
import { BLOCK, padded, parseTarHeader } from '../io/tar.js';
import { MANIFEST, type Manifest, type Shard } from './manifest.js';

/** Usually a sidecar and the header of its image. */
const WINDOW = 8192;
/** A set may have more shards than a process may have open files. */
const OPEN_FILES = 64;

/** Reads an archive from front to back through a small window. */
class Headers {
  #window: Buffer = Buffer.alloc(0);
  #start = 0;

  constructor(
    private readonly fd: number,
    private readonly bytes: number,
  ) {}

  read(at: number, length: number): Buffer {
    if (at + length > this.bytes) throw new Error('the archive is cut off');
    if (at < this.#start || at + length > this.#start + this.#window.length) {
      const wanted = Math.min(Math.max(length, WINDOW), this.bytes - at);
      const window = Buffer.allocUnsafe(wanted);
      for (let have = 0; have < wanted; ) {
        const got = readSync(this.fd, window, have, wanted - have, at + have);
        if (got === 0) throw new Error('the archive is cut off');
        have += got;
      }
      this.#window = window;
      this.#start = at;
    }
    return this.#window.subarray(at - this.#start, at - this.#start + length);
  }
}

export interface ByteRange {
  at: number;
  size: number;
}

/** A sample as a shard's headers tell it. */
export interface ShardSample {
  key: string;
  sidecar: JsonObject;
  json: ByteRange;
  files: (ByteRange & { extension: string })[];
}

/** Throws a plain sentence. */
function parseSidecar(bytes: Buffer, name: string): JsonObject {
  const sidecar = parseJson(decodeText(bytes));
  if (!isObject(sidecar)) throw new Error(`${name}: expected an object, found ${brief(sidecar)}`);
  return sidecar;
}

/** Calls `visit` for each sample of a shard. Throws DrmError BAD_FILE naming the byte where it is not as expected. */
export function walkShard(folder: string, shard: Shard, visit: (sample: ShardSample) => void): void {
  const file = join(folder, shard.name);
  const fd = openSync(file, 'r');
  let at = 0;
  let samples = 0;
  try {
    const headers = new Headers(fd, shard.bytes);
    let sample: ShardSample | undefined;
    for (;;) {
      const header = parseTarHeader(headers.read(at, BLOCK));
      if (!header) break;
      const [key = '', extension = ''] = header.name.split(/\.(.*)/s);
      const place = { at: at + BLOCK, size: header.size };
      if (place.at + padded(place.size) > shard.bytes) throw new Error('the archive is cut off');
      if (extension === 'json') {
        if (sample) visit(sample);
        const sidecar = parseSidecar(headers.read(place.at, place.size), header.name);
        sample = { key, sidecar, json: place, files: [] };
        samples += 1;
      } else if (sample?.key !== key) throw new Error(`${header.name}: expected ${key}.json before it`);
      else sample.files.push({ extension, ...place });
      at = place.at + padded(place.size);
    }
    if (sample) visit(sample);
    if (samples !== shard.count)
      throw new Error(`expected ${shard.count} samples, as ${MANIFEST} says, found ${samples}`);
  } catch (error) {
    throwLack(error);
    throw new DrmError(
      'BAD_FILE',
      `[data] ${file}, byte ${at}: ${(error as Error).message}; copy the shard again, or prepare the set again`,
      { file },
    );
  } finally {
    closeSync(fd);
  }
}

export interface OpenOptions {
  /** One split or several, in the manifest's order; all by default. */
  split?: string | readonly string[];
  /** Also compare each shard's sha256, which reads all of it. */
  verify?: boolean;
}

/** The shards of the wanted splits. Throws DrmError naming the split that is not there, or the shards that are not as the manifest says. */
export async function checkShards(
  folder: string,
  manifest: Manifest,
  { split, verify = false }: OpenOptions,
): Promise<Shard[]> {
  const wanted = split === undefined ? Object.keys(manifest.splits) : typeof split === 'string' ? [split] : split;
  for (const name of wanted)
    if (!Object.hasOwn(manifest.splits, name))
      throw new DrmError(
        'BAD_REQUEST',
        `[data] ${folder}: expected split ${name}, found ${Object.keys(manifest.splits).join(', ')}`,
        { file: folder },
      );
  const shards = manifest.shards.filter((shard) => wanted.includes(shard.split));
  const faults: string[] = [];
  for (const shard of shards) {
    const file = join(folder, shard.name);
    if (!existsSync(file)) faults.push(`${file}: no file`);
    else if (statSync(file).size !== shard.bytes)
      faults.push(`${file}: ${statSync(file).size} bytes instead of ${shard.bytes}`);
    else if (verify && (await sha256(file)) !== shard.sha256) faults.push(`${file}: its content has changed`);
  }
  if (faults.length > 0)
    throw new DrmError(
      'BAD_FILE',
      `[data] ${faults.length} of ${shards.length} shards are not as ${MANIFEST} says: ${faults.slice(0, 4).join('; ')}${faults.length > 4 ? '; …' : ''}; copy them again, or remove the folder and prepare it again`,
      { file: folder },
    );
  return shards;
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Reads at places of a set's shards, few of which are open at a time. */
export class ShardFiles {
  readonly #files = new Map<number, { handle: Promise<FileHandle>; readers: number }>();

  constructor(
    private readonly folder: string,
    private readonly shards: readonly Shard[],
  ) {}

  /** Rejects with DrmError BAD_FILE when the shard is gone or cut; `what` names what was wanted. */
  async read(shard: number, { at, size }: ByteRange, what: () => string): Promise<Buffer> {
    const file = this.#file(shard);
    file.readers += 1;
    try {
      const handle = await file.handle;
      const buffer = Buffer.allocUnsafeSlow(size);
      for (let have = 0; have < size; ) {
        const { bytesRead } = await handle.read(buffer, have, size - have, at + have);
        if (bytesRead === 0) throw new Error('the shard is cut off');
        have += bytesRead;
      }
      return buffer;
    } catch (error) {
      throwLack(error);
      throw this.#unreadable(shard, what(), error);
    } finally {
      file.readers -= 1;
    }
  }

  /** The sidecar at a place, and the key of its sample, likewise. */
  async sidecar<T>(
    shard: number,
    { at, size }: ByteRange,
    what: () => string,
    shape: Shape<T>,
  ): Promise<{ key: string; sidecar: T }> {
    const bytes = await this.read(shard, { at: at - BLOCK, size: size + BLOCK }, what);
    try {
      const key = parseTarHeader(bytes.subarray(0, BLOCK))?.name.replace(/\..*/s, '') ?? '';
      return { key, sidecar: shape(parseSidecar(bytes.subarray(BLOCK), what()), '') };
    } catch (error) {
      throw this.#unreadable(shard, what(), error);
    }
  }

  #unreadable(shard: number, what: string, error: unknown): DrmError {
    const file = join(this.folder, (this.shards[shard] as Shard).name);
    return new DrmError('BAD_FILE', `[data] ${file}: ${what} cannot be read: ${(error as Error).message}`, { file });
  }

  /** Opens a shard, or finds it open; one that nobody reads is closed for it when there are many. */
  #file(index: number): { handle: Promise<FileHandle>; readers: number } {
    const known = this.#files.get(index);
    if (known) {
      this.#files.delete(index); // last used, last in the map
      this.#files.set(index, known);
      return known;
    }
    const file = { handle: open(join(this.folder, (this.shards[index] as Shard).name), 'r'), readers: 0 };
    file.handle.catch(() => this.#files.delete(index)); // the next sample tries again
    if (this.#files.size >= OPEN_FILES) {
      const idle = [...this.#files].find(([, { readers }]) => readers === 0);
      if (idle) {
        this.#files.delete(idle[0]);
        idle[1].handle.then((handle) => handle.close()).catch(() => {});
      }
    }
    this.#files.set(index, file);
    return file;
  }

  async close(): Promise<void> {
    const files = [...this.#files.values()];
    this.#files.clear();
    await Promise.allSettled(files.map(async ({ handle }) => (await handle).close()));
  }
}
