// A zip as a flat folder of files.
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import yauzl, { type Entry, type ZipFile } from 'yauzl';
import { DrmError } from '../../binding/error.js';
import { Drop, LARGEST_FILE } from './source.js';

const openZip = promisify<string, yauzl.Options, ZipFile>(yauzl.open);

export class ZipFolder {
  private constructor(
    readonly path: string,
    private readonly zip: ZipFile,
    private readonly entries: ReadonlyMap<string, Entry>,
  ) {}

  /** Throws DrmError BAD_FILE when it is no zip. */
  static async open(path: string): Promise<ZipFolder> {
    try {
      const zip = await openZip(path, { lazyEntries: true, autoClose: false });
      const entries = new Map<string, Entry>();
      await new Promise<void>((done, failed) => {
        zip.on('entry', (entry: Entry) => {
          const name = entry.fileName.slice(entry.fileName.lastIndexOf('/') + 1);
          if (name !== '') entries.set(name, entry);
          zip.readEntry();
        });
        zip.on('end', done);
        zip.on('error', failed);
        zip.readEntry();
      });
      return new ZipFolder(path, zip, entries);
    } catch (error) {
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

  async read(name: string): Promise<Buffer | Drop> {
    const entry = this.entries.get(name);
    if (!entry) return new Drop('missing_image', `${name}: not in ${this.path}`);
    if (entry.uncompressedSize > LARGEST_FILE) return new Drop('too_large', `${name}: ${entry.uncompressedSize} bytes`);
    try {
      const open = promisify<Entry, NodeJS.ReadableStream>(this.zip.openReadStream.bind(this.zip));
      return await buffer(await open(entry)); // its length is checked on the way
    } catch (error) {
      return new Drop('undecodable_image', `${name} in ${this.path}: ${(error as Error).message}`);
    }
  }

  close(): void {
    this.zip.close();
  }
}
