// Images taken out of an archive that can only be read from front to back, kept in one file until the set is prepared
// (prepare.ts then removes it).
// A killed preparation keeps what was written: the index is written after the data that it speaks of.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { diskError } from '../../common/files.js';
import { count, text } from '../../common/shape.js';
import { Drop } from '../io/drop.js';
import { IdTable } from '../io/id_table.js';

/** Written and indexed at a time. */
const BATCH = 32 << 20;

/** Of a line of the index; undefined for one that is none. */
function placeIn(line: string): { name: string; at: number; size: number } | undefined {
  try {
    const found: unknown = JSON.parse(line);
    const [name, at, size] = Array.isArray(found) ? (found as unknown[]) : [];
    return { name: text(name, 'name'), at: count(at, 'at'), size: count(size, 'size') };
  } catch {
    return undefined;
  }
}

export class StagedImages {
  readonly #names = new IdTable();
  #at = new Float64Array(1 << 10);
  /** -1: wanted, not there. */
  #size = new Float64Array(1 << 10);
  #missing = 0;
  #end = 0;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #lines: string[] = [];

  private constructor(
    private readonly folder: string,
    private readonly data: FileHandle,
    private readonly index: FileHandle,
  ) {}

  /** Takes up what an earlier run left in the folder. Throws DrmError DISK. */
  static async open(folder: string): Promise<StagedImages> {
    try {
      await mkdir(folder, { recursive: true });
      const index = join(folder, 'index.jsonl');
      const data = join(folder, 'pictures');
      const known = existsSync(index) && existsSync(data) ? readFileSync(index, 'utf8').split('\n') : [];
      const bytes = known.length > 0 ? statSync(data).size : 0;
      const staged = new StagedImages(
        folder,
        await open(data, known.length > 0 ? 'r+' : 'w+'),
        await open(`${index}`, known.length > 0 ? 'r+' : 'w'),
      );
      let whole = 0;
      const sizes = new Map<number, number>();
      for (const line of known) {
        const place = placeIn(line);
        // The last line was being written when the process died; what follows a damaged one is copied again. A link is at
        // the place of its target.
        if (!place || place.at + place.size > bytes) break;
        if (place.at !== staged.#end && sizes.get(place.at) !== place.size) break;
        sizes.set(place.at, place.size);
        staged.#set(place.name, place.at, place.size);
        staged.#end = Math.max(staged.#end, place.at + place.size);
        whole += Buffer.byteLength(line) + 1;
      }
      await staged.data.truncate(staged.#end);
      await staged.index.truncate(whole);
      staged.#indexEnd = whole;
      return staged;
    } catch (error) {
      throw diskError(folder, error);
    }
  }

  #indexEnd = 0;

  #set(name: string, at: number, size: number): void {
    const number = this.#names.add(name);
    if (number >= this.#at.length) {
      const grow = (values: Float64Array) => {
        const grown = new Float64Array(2 * values.length);
        grown.set(values);
        return grown;
      };
      this.#at = grow(this.#at);
      this.#size = grow(this.#size);
    }
    this.#at[number] = at;
    this.#size[number] = size;
  }

  /** Is it one that was not asked for before? */
  want(name: string): boolean {
    if (this.#names.find(name) >= 0) return false;
    this.#set(name, 0, -1);
    this.#missing += 1;
    return true;
  }

  /** Images that are wanted and not there. */
  get missing(): number {
    return this.#missing;
  }

  isMissing(name: string): boolean {
    const number = this.#names.find(name);
    return number >= 0 && this.#size[number] === -1;
  }

  has(name: string): boolean {
    return this.size(name) >= 0;
  }

  /** Bytes of an image; -1 when it is not there. */
  size(name: string): number {
    const number = this.#names.find(name);
    return number < 0 ? -1 : (this.#size[number] as number);
  }

  async put(name: string, bytes: Buffer): Promise<void> {
    if (!this.isMissing(name)) return;
    const at = this.#end + this.#waitingBytes;
    this.#set(name, at, bytes.length);
    this.#missing -= 1;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#lines.push(`${JSON.stringify([name, at, bytes.length])}\n`);
    if (this.#waitingBytes >= BATCH) await this.sync();
  }

  /** Gives an image another one's bytes, if they are there. */
  link(name: string, target: string): void {
    const size = this.size(target);
    if (size < 0 || !this.isMissing(name)) return;
    const at = this.#at[this.#names.find(target)] as number;
    this.#set(name, at, size);
    this.#missing -= 1;
    this.#lines.push(`${JSON.stringify([name, at, size])}\n`);
  }

  async sync(): Promise<void> {
    try {
      for (const bytes of this.#waiting) {
        for (let done = 0; done < bytes.length; )
          done += (await this.data.write(bytes, done, bytes.length - done, this.#end + done)).bytesWritten;
        this.#end += bytes.length;
      }
      this.#waiting = [];
      this.#waitingBytes = 0;
      await this.data.datasync();
      const lines = Buffer.from(this.#lines.join(''));
      await this.index.write(lines, 0, lines.length, this.#indexEnd);
      this.#indexEnd += lines.length;
      this.#lines = [];
      await this.index.datasync();
    } catch (error) {
      throw diskError(this.folder, error);
    }
  }

  async read(name: string): Promise<Buffer | Drop> {
    const number = this.#names.find(name);
    const size = this.size(name);
    if (size < 0) return new Drop('missing_image', `${name}: not in the archive`);
    const bytes = Buffer.allocUnsafeSlow(size);
    for (let have = 0; have < size; ) {
      const { bytesRead } = await this.data.read(bytes, have, size - have, (this.#at[number] as number) + have);
      if (bytesRead === 0) return new Drop('missing_image', `${name}: its copy in ${this.folder} is cut off`);
      have += bytesRead;
    }
    return bytes;
  }

  async close(): Promise<void> {
    await this.data.close();
    await this.index.close();
  }
}
