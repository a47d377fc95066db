// Where the images of a list of pairs are: an unpacked folder, zips beside where their folder would be, tar archives in
// one piece or in numbered parts, or the shards of Pick-a-Pic. Archives that can only be read from front to back are
// copied once, what is wanted of them, into a file that images can be taken out of in any order.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { throwLack } from '../../common/errors.js';
import { chunksOf, Link, memberPath, membersOf } from '../io/archive.js';
import { Drop, LARGEST_FILE } from '../io/drop.js';
import { ZipFolder } from '../io/zip.js';
import type { Listing } from '../prepared/source.js';
import { StagedImages } from './staged_images.js';

export interface Images {
  /** For messages. */
  readonly place: string;
  /** Sees to it that these can be read; what is not there stays missing. Repeats nothing that an earlier run has done. */
  stage?: ((wanted: AsyncIterable<string> | Iterable<string>, listing: Listing) => Promise<void>) | undefined;
  read(name: string): Promise<Uint8Array | Drop>;
  /** Bytes of an image's file before it is read; 0 when it is not there, or too large to be read. */
  size(name: string): Promise<number>;
  close(): Promise<void>;
}

/** A folder's file. */
export async function readImage(file: string, where: string): Promise<Buffer | Drop> {
  try {
    const found = await stat(file);
    if (!found.isFile()) return new Drop('missing_image', `${where}: not a file`);
    if (found.size > LARGEST_FILE) return new Drop('too_large', `${where}: ${found.size} bytes`);
    return await readFile(file);
  } catch (error) {
    throwLack(error);
    return new Drop('missing_image', `${where}: ${(error as Error).message}`);
  }
}

/** Bytes of a folder's file; 0 when there is none, or none that would be read. */
export async function imageSize(file: string): Promise<number> {
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  return size > LARGEST_FILE ? 0 : size;
}

/** Names are paths below a folder. Where a part of it is not unpacked, its zip is read: a/b.zip for a/b/c.webp. */
export class ImageFolder implements Images {
  readonly #zips = new Map<string, Promise<ZipFolder> | undefined>();

  constructor(readonly place: string) {}

  async read(name: string): Promise<Uint8Array | Drop> {
    const file = resolve(this.place, name); // a user's own list may name images anywhere
    if (!existsSync(file)) {
      const zip = await this.#zipOf(dirname(file));
      if (zip) return zip.read(basename(file));
    }
    return readImage(file, name);
  }

  async size(name: string): Promise<number> {
    const file = resolve(this.place, name);
    const size = await imageSize(file);
    return size > 0 ? size : ((await this.#zipOf(dirname(file)))?.size(basename(file)) ?? 0);
  }

  #zipOf(folder: string): Promise<ZipFolder> | undefined {
    if (!this.#zips.has(folder))
      this.#zips.set(folder, existsSync(`${folder}.zip`) ? ZipFolder.open(`${folder}.zip`) : undefined);
    return this.#zips.get(folder);
  }

  async close(): Promise<void> {
    for (const zip of this.#zips.values()) (await zip?.catch(() => undefined))?.close();
  }
}

/**
 * The files of an archive in one piece (x.tar, x.tar.gz, x.tgz) or in parts (x.tar.gz.00, .01, ...), given by its name
 * without the number; none when there is none. Throws DrmError BAD_FILE naming a part that is not there.
 */
export function archiveFiles(archive: string): string[] {
  if (existsSync(archive) && statSync(archive).isFile()) return [archive];
  const folder = dirname(archive);
  if (!existsSync(folder)) return [];
  const numbered = readdirSync(folder)
    .filter(
      (name) => name.startsWith(`${basename(archive)}.`) && /^\d+$/.test(name.slice(basename(archive).length + 1)),
    )
    .sort();
  for (const [i, name] of numbered.entries()) {
    const number = name.slice(basename(archive).length + 1);
    if (Number(number) !== i)
      throw new DrmError(
        'BAD_FILE',
        `[data] ${archive}: expected part ${String(i).padStart(number.length, '0')}, found ${name} in its place; the parts are one stream, and none may be missing: fetch it`,
        { file: join(folder, name) },
      );
  }
  return numbered.map((name) => join(folder, name));
}

/** An archive is read so often at most; links to links that come after their targets need more than one reading each. */
const PASSES = 8;

/** Links of one reading whose targets are not at hand yet. */
class LinksInWait {
  readonly #byTarget = new Map<string, string[]>();
  readonly #names = new Set<string>();

  constructor(private readonly staged: StagedImages) {}

  /** False for a second link of that name: the first one counts. */
  add(name: string, target: string): boolean {
    if (this.#names.has(name)) return false;
    this.#names.add(name);
    const waiting = this.#byTarget.get(target);
    if (waiting) waiting.push(name);
    else this.#byTarget.set(target, [name]);
    this.resolve(target);
    return true;
  }

  /** This one may be at hand now: gives its bytes to what links to it, directly or by other links. */
  resolve(target: string): void {
    const found = [target];
    for (let at = found.pop(); at !== undefined; at = found.pop()) {
      if (!this.staged.has(at)) continue;
      for (const name of this.#byTarget.get(at) ?? []) {
        this.staged.link(name, at);
        found.push(name);
      }
      this.#byTarget.delete(at);
    }
  }
}

/** A tar archive. Names are members' names, or their last folders and file: x/y.jpg finds images/x/y.jpg. */
export class ImageArchive implements Images {
  readonly place: string;
  #staged: StagedImages | undefined;

  constructor(
    private readonly files: readonly string[],
    private readonly work: string,
  ) {
    const [first = '', ...others] = files;
    this.place = others.length > 0 ? `${first} to ${basename(others.at(-1) as string)}` : first;
  }

  async stage(wanted: AsyncIterable<string> | Iterable<string>, listing: Listing): Promise<void> {
    this.#staged ??= await StagedImages.open(this.work);
    const staged = this.#staged;
    for await (const name of wanted) staged.want(name);
    // A link's target may come before the link, and is then found when the archive is read again.
    try {
      for (let pass = 0; pass < PASSES && staged.missing > 0; pass++)
        if (!(await this.#readThrough(staged, listing))) break;
    } finally {
      await staged.sync();
    }
  }

  /** Takes out what is wanted. Are there targets of links left, which another reading may find? */
  async #readThrough(staged: StagedImages, { signal, onProgress }: Listing): Promise<boolean> {
    const stop = () => {
      if (signal.aborted) throw new DrmError('CANCELLED', 'stopped while unpacking');
    };
    const total = this.files.reduce((sum, file) => sum + statSync(file).size, 0);
    let read = 0;
    const chunks = chunksOf(this.files, (bytes) => {
      read += bytes;
      onProgress('unpacking', read, total, 'B');
      stop();
    });
    const names = (member: string): string[] => {
      const found: string[] = [];
      for (let name = memberPath(member); ; ) {
        if (staged.isMissing(name)) found.push(name);
        const slash = name.indexOf('/');
        if (slash < 0) return found;
        name = name.slice(slash + 1);
      }
    };
    const links = new LinksInWait(staged);
    let sought = 0;
    for await (const member of membersOf(chunks, this.place, (member) => names(member).length > 0)) {
      stop();
      if (member instanceof Drop)
        throw new DrmError(
          'BAD_FILE',
          `[data] ${this.place}: the archive is damaged (${member.detail.slice(this.place.length + 2)}) after ${read} of ${total} bytes; fetch it again`,
          { file: this.files[0] as string },
        );
      const found = names(member.name);
      if (member instanceof Link) {
        if (member.target === undefined) continue;
        for (const name of found) if (links.add(name, member.target)) sought += staged.want(member.target) ? 1 : 0;
      } else if (Buffer.isBuffer(member.bytes)) {
        const [first] = found;
        if (first !== undefined) await staged.put(first, member.bytes);
        for (const name of found) {
          staged.link(name, first as string);
          links.resolve(name);
        }
      }
      if (staged.missing === 0) break;
    }
    return sought > 0 && staged.missing > 0;
  }

  async read(name: string): Promise<Uint8Array | Drop> {
    return this.#staged?.read(name) ?? new Drop('missing_image', `${name}: not unpacked`);
  }

  async size(name: string): Promise<number> {
    return Math.max(0, this.#staged?.size(name) ?? 0);
  }

  async close(): Promise<void> {
    await this.#staged?.close();
  }
}

const GUARD = 200;

/** Says where it looked when none of the first images is there: a wrong folder is no data set of missing images. */
export class GuardedImages implements Images {
  #found = 0;
  #missing = 0;

  constructor(
    private readonly images: Images,
    private readonly list: string,
  ) {}

  get place(): string {
    return this.images.place;
  }

  get stage(): Images['stage'] {
    return this.images.stage?.bind(this.images);
  }

  async read(name: string): Promise<Uint8Array | Drop> {
    const found = await this.images.read(name);
    if (!(found instanceof Drop) || found.reason !== 'missing_image') this.#found += 1;
    else if (++this.#missing >= GUARD && this.#found === 0) throw this.error(name);
    return found;
  }

  size(name: string): Promise<number> {
    return this.images.size(name);
  }

  /** An earlier run of this preparation found some. */
  trust(): void {
    this.#found += 1;
  }

  /** Were images looked for, and none found? */
  get isWrong(): boolean {
    return this.#found === 0 && this.#missing > 0;
  }

  error(name?: string): DrmError {
    return new DrmError(
      'BAD_FILE',
      `[data] ${this.place}: expected the images that ${this.list} names, found none of the first ${this.#missing}${name === undefined ? '' : ` (such as ${name})`}; say where they are with --images, or how their paths change with --rewrite`,
      { file: this.place },
    );
  }

  close(): Promise<void> {
    return this.images.close();
  }
}
