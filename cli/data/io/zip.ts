// A zip as a flat folder of files.
import { promisify } from 'node:util';
import yauzl, { type Entry, type ZipFile } from 'yauzl';
import { DrmError } from '../../../binding/error.js';
import { Drop, LARGEST_FILE } from './drop.js';

const openZip = promisify<string, yauzl.Options, ZipFile>(yauzl.open);

/** Their descriptions are held, some 500 bytes each. */
const MOST_ENTRIES = 1 << 20;
/** Symbolic links are files that hold the path of another one. */
const isLink = (entry: Entry): boolean => ((entry.externalFileAttributes >>> 16) & 0o170000) === 0o120000;
const LONGEST_LINK = 4096;
const MOST_LINKS = 8;

export class ZipFolder {
  private constructor(
    readonly path: string,
    private readonly zip: ZipFile,
    private readonly entries: ReadonlyMap<string, Entry>,
  ) {}

  /** Throws DrmError BAD_FILE when it is no zip. */
  static async open(path: string): Promise<ZipFolder> {
    let zip: ZipFile | undefined;
    try {
      zip = await openZip(path, { lazyEntries: true, autoClose: false });
      if (zip.entryCount > MOST_ENTRIES) throw new Error(`${zip.entryCount} files, more than ${MOST_ENTRIES}`);
      const found = zip;
      const entries = new Map<string, Entry>();
      await new Promise<void>((done, failed) => {
        found.on('entry', (entry: Entry) => {
          const name = entry.fileName.slice(entry.fileName.lastIndexOf('/') + 1);
          if (name !== '') entries.set(name, entry);
          found.readEntry();
        });
        found.on('end', done);
        found.on('error', failed);
        found.readEntry();
      });
      return new ZipFolder(path, found, entries);
    } catch (error) {
      zip?.close();
      throw new DrmError(
        'BAD_FILE',
        `[data] ${path}: cannot be read as a zip: ${(error as Error).message}; fetch it again`,
        {
          file: path,
        },
      );
    }
  }

  names(): Iterable<string> {
    return this.entries.keys();
  }

  /** Bytes of a file; 0 when it is not there, or too large to be read. */
  size(name: string): number {
    const size = this.#entry(name)?.uncompressedSize ?? 0;
    return size > LARGEST_FILE ? 0 : size;
  }

  async read(name: string): Promise<Buffer | Drop> {
    let entry = this.#entry(name);
    for (let links = 0; entry && isLink(entry); links++) {
      const target =
        entry.uncompressedSize > LONGEST_LINK || links > MOST_LINKS ? undefined : await this.#inflate(entry, name);
      if (target instanceof Drop) return target;
      entry = target && this.#entry(target.toString('utf8'));
    }
    if (!entry) return new Drop('missing_image', `${name}: not in ${this.path}`);
    if (entry.uncompressedSize > LARGEST_FILE) return new Drop('too_large', `${name}: ${entry.uncompressedSize} bytes`);
    return this.#inflate(entry, name);
  }

  /** By the last part of its name. */
  #entry(name: string): Entry | undefined {
    return this.entries.get(name.slice(name.lastIndexOf('/') + 1));
  }

  async #inflate(entry: Entry, name: string): Promise<Buffer | Drop> {
    try {
      const open = promisify<Entry, NodeJS.ReadableStream>(this.zip.openReadStream.bind(this.zip));
      const bytes = Buffer.allocUnsafeSlow(entry.uncompressedSize);
      let at = 0;
      // Its length is checked on the way.
      for await (const chunk of (await open(entry)) as AsyncIterable<Buffer>) at += chunk.copy(bytes, at);
      return bytes.subarray(0, at);
    } catch (error) {
      return new Drop('undecodable_image', `${name} in ${this.path}: ${(error as Error).message}`);
    }
  }

  close(): void {
    this.zip.close();
  }
}
