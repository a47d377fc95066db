// A prepared set, open for reading: captions and places of all samples in memory, pictures read when asked for.
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, existsSync, openSync, readSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { MANIFEST, type Manifest, readManifest, type Shard } from './manifest.js';
import { BLOCK, padded, parseTarHeader } from './tar.js';

/** Usually a sidecar and the header of its picture. */
const WINDOW = 8192;
/** A set may have more shards than a process may have open files. */
const OPEN_FILES = 64;

/** A sample's sidecar without its caption; which fields there are depends on the source. */
export type SampleMeta = Record<string, unknown>;

export interface OpenOptions {
  /** One split or several, in the manifest's order; all by default. */
  split?: string | readonly string[];
  /** Also compare each shard's sha256, which reads all of it. */
  verify?: boolean;
}

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

export class CaptionedSet {
  readonly #keys: string[] = [];
  readonly #captions: string[] = [];
  readonly #shard: number[] = [];
  readonly #jsonAt: number[] = [];
  readonly #jsonSize: number[] = [];
  readonly #pictureAt: number[] = [];
  readonly #pictureSize: number[] = [];
  readonly #files = new Map<number, { handle: Promise<FileHandle>; readers: number }>();

  private constructor(
    readonly folder: string,
    readonly manifest: Manifest,
    readonly shards: readonly Shard[],
  ) {}

  /** Throws DrmError BAD_FILE naming the shard that is missing, cut, altered or malformed. */
  static async open(folder: string, { split, verify = false }: OpenOptions = {}): Promise<CaptionedSet> {
    const manifest = readManifest(folder);
    const wanted = split === undefined ? Object.keys(manifest.splits) : typeof split === 'string' ? [split] : split;
    for (const name of wanted)
      if (manifest.splits[name] === undefined)
        throw new DrmError(
          'BAD_REQUEST',
          `[data] ${folder}: expected split ${name}, found ${Object.keys(manifest.splits).join(', ')}`,
          { file: folder },
        );
    const shards = manifest.shards.filter((shard) => wanted.includes(shard.split));
    const set = new CaptionedSet(folder, manifest, shards);
    const lost: string[] = [];
    for (const shard of shards) {
      const file = join(folder, shard.name);
      if (!existsSync(file)) lost.push(`${file}: no file`);
      else if (statSync(file).size !== shard.bytes)
        lost.push(`${file}: ${statSync(file).size} bytes instead of ${shard.bytes}`);
      else if (verify && (await sha256(file)) !== shard.sha256) lost.push(`${file}: its content has changed`);
    }
    if (lost.length > 0)
      throw new DrmError(
        'BAD_FILE',
        `[data] ${lost.length} of ${shards.length} shards are not as ${MANIFEST} says: ${lost.slice(0, 4).join('; ')}${lost.length > 4 ? '; …' : ''}; copy them again, or remove the folder and prepare it again`,
        { file: folder },
      );
    for (const index of shards.keys()) set.#index(index);
    if (set.length === 0)
      throw new DrmError('BAD_FILE', `[data] ${folder}: expected samples, found none`, { file: folder });
    return set;
  }

  #index(index: number): void {
    const shard = this.shards[index] as Shard;
    const file = join(this.folder, shard.name);
    const fd = openSync(file, 'r');
    let at = 0;
    try {
      const headers = new Headers(fd, shard.bytes);
      const before = this.length;
      for (;;) {
        const header = parseTarHeader(headers.read(at, BLOCK));
        if (!header) break;
        const [key = '', extension] = header.name.split(/\.(.*)/s);
        const content = at + BLOCK;
        if (content + padded(header.size) > shard.bytes) throw new Error('the archive is cut off');
        if (extension === 'json') {
          const { caption } = JSON.parse(headers.read(content, header.size).toString('utf8')) as { caption?: unknown };
          if (typeof caption !== 'string') throw new Error(`${header.name}: expected a caption`);
          this.#keys.push(key);
          this.#captions.push(caption);
          this.#shard.push(index);
          this.#jsonAt.push(content);
          this.#jsonSize.push(header.size);
        } else {
          if (this.#keys.at(-1) !== key || this.#pictureAt.length !== this.#keys.length - 1)
            throw new Error(`${header.name}: expected one picture after each ${key}.json`);
          this.#pictureAt.push(content);
          this.#pictureSize.push(header.size);
        }
        at = content + padded(header.size);
      }
      if (this.#pictureAt.length !== this.#keys.length) throw new Error('the last sample has no picture');
      if (this.length - before !== shard.count)
        throw new Error(`expected ${shard.count} samples, as ${MANIFEST} says, found ${this.length - before}`);
    } catch (error) {
      throw new DrmError(
        'BAD_FILE',
        `[data] ${file}, byte ${at}: ${(error as Error).message}; copy the shard again, or prepare the set again`,
        { file },
      );
    } finally {
      closeSync(fd);
    }
  }

  get length(): number {
    return this.#keys.length;
  }

  key(i: number): string {
    return this.#keys[i] as string;
  }

  caption(i: number): string {
    return this.#captions[i] as string;
  }

  shardOf(i: number): Shard {
    return this.shards[this.#shard[i] as number] as Shard;
  }

  /** Bytes of the picture's file. */
  size(i: number): number {
    return this.#pictureSize[i] as number;
  }

  /** All of the sidecar (concept, category, style, source, licence, split ... as the source gives them). */
  async meta(i: number): Promise<SampleMeta> {
    const bytes = await this.#read(i, this.#jsonAt[i] as number, this.#jsonSize[i] as number);
    return JSON.parse(bytes.toString('utf8')) as SampleMeta;
  }

  /** The picture's file. Rejects with DrmError BAD_FILE when its shard is gone or cut. */
  bytes(i: number): Promise<Buffer> {
    return this.#read(i, this.#pictureAt[i] as number, this.#pictureSize[i] as number);
  }

  async #read(i: number, at: number, size: number): Promise<Buffer> {
    const index = this.#shard[i] as number;
    const file = this.#file(index);
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
      const path = join(this.folder, this.shardOf(i).name);
      throw new DrmError('BAD_FILE', `[data] ${path}: ${this.key(i)} cannot be read: ${(error as Error).message}`, {
        file: path,
      });
    } finally {
      file.readers -= 1;
    }
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

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
