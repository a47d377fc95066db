// Shards on disk: finished ones have their name and a line in the journal, unfinished ones a temporary name.
// A killed preparation loses only the unfinished ones; the journal says from which record on each split goes on.
import { createHash, type Hash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { diskError, syncFolder } from '../../common/files.js';
import { isObject } from '../../common/json.js';
import { count, listOf, mapOf, number, objectOf, optional, type Shape } from '../../common/shape.js';
import { IdTable } from '../io/id_table.js';
import { END, padded, tarHeader } from '../io/tar.js';
import { SHARD, type Shard } from './manifest.js';
import { imageIdsOf } from './pair.js';
import { walkShard } from './shard_reader.js';
import type { IsWritten, Sample } from './source.js';

export const JOURNAL = '.progress.jsonl';
const PARTIAL = /^\..+\.tar\.partial$/;
const BUFFER = 1 << 20;
/** Each has an open file; more are a mistake in the input. */
const MOST_SPLITS = 64;

/** What is done of one split, as of the last record of its last finished shard. */
export interface SplitProgress {
  /** Ordinal of that record. */
  through: number;
  /** Records that came to nothing so far, by reason. */
  dropped: Record<string, number>;
  /** Samples by the source's notes. */
  kept: number[];
}

interface JournalLine {
  shard: Shard;
  progress: SplitProgress;
}

export interface ShardLimits {
  bytes: number;
  samples: number;
}

/** A failed system call as DrmError DISK; anything else is a bug and stays what it is. */
const writeError = (path: string, error: unknown): unknown =>
  (error as NodeJS.ErrnoException).syscall === undefined ? error : diskError(path, error);

class OpenShard {
  bytes = 0;
  count = 0;
  readonly #hash: Hash = createHash('sha256');
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;

  private constructor(
    readonly name: string,
    readonly path: string,
    readonly file: FileHandle,
  ) {}

  static async create(folder: string, name: string): Promise<OpenShard> {
    const path = join(folder, `.${name}.partial`);
    return new OpenShard(name, path, await open(path, 'w'));
  }

  async #put(bytes: Uint8Array): Promise<void> {
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.bytes += bytes.length;
    if (this.#waitingBytes >= BUFFER) await this.#flush();
  }

  async #flush(): Promise<void> {
    const chunk = Buffer.concat(this.#waiting);
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#hash.update(chunk);
    for (let at = 0; at < chunk.length; ) at += (await this.file.write(chunk, at)).bytesWritten;
  }

  async #member(name: string, bytes: Uint8Array): Promise<void> {
    await this.#put(tarHeader(name, bytes.length));
    await this.#put(bytes);
    const gap = padded(bytes.length) - bytes.length;
    if (gap > 0) await this.#put(new Uint8Array(gap));
  }

  /** The sidecar comes first: a reader then finds caption and image header with one small read. */
  async add(sample: Sample): Promise<void> {
    await this.#member(`${sample.key}.json`, Buffer.from(`${JSON.stringify(sample.json)}\n`));
    for (const { extension, bytes } of sample.files) await this.#member(`${sample.key}.${extension}`, bytes);
    this.count += 1;
  }

  async finish(): Promise<string> {
    await this.#put(END);
    await this.#flush();
    await this.file.sync();
    await this.file.close();
    return this.#hash.digest('hex');
  }
}

export class ShardWriter {
  readonly shards: Shard[] = [];
  readonly #open = new Map<string, OpenShard>();
  readonly #progress = new Map<string, SplitProgress>();
  /** Ids of the images in each split's shards, those of the unfinished one included. */
  readonly #written = new Map<string, IdTable>();

  private constructor(
    private readonly folder: string,
    private readonly limits: ShardLimits,
    private readonly journal: FileHandle,
  ) {}

  /**
   * Opens a folder for writing. Takes up an unfinished preparation of the same `fingerprint`; throws DrmError
   * BAD_REQUEST when the folder holds one of another.
   */
  static async open(folder: string, fingerprint: string, limits: ShardLimits): Promise<ShardWriter> {
    const path = join(folder, JOURNAL);
    const lines = existsSync(path) ? readJournal(path) : [];
    const head = lines.shift();
    if (head && lines.length > 0 && !(isObject(head) && head.fingerprint === fingerprint))
      throw new DrmError(
        'BAD_REQUEST',
        `[data] ${folder}: expected the unfinished preparation of these settings and this input, found that of others; give the same as before, name another --out, or remove the folder`,
        { file: folder },
      );
    const foreign = head ? undefined : (await readdir(folder)).find((name) => name.endsWith('.tar'));
    if (foreign !== undefined)
      throw new DrmError(
        'BAD_REQUEST',
        `[data] ${folder}: expected a folder without archives, found ${foreign}, which might be overwritten; name another --out`,
        { file: join(folder, foreign) },
      );
    try {
      // Written anew: the last line may be cut off, and appending to it would spoil the next one.
      const journal = await open(`${path}.new`, 'w');
      const writer = new ShardWriter(folder, limits, journal);
      const kept: JournalLine[] = [];
      for (const value of lines) {
        const line = journalLine(value);
        if (!line) break;
        const file = join(folder, line.shard.name);
        if (!existsSync(file) || statSync(file).size !== line.shard.bytes) break; // and all after it are made again
        kept.push(line);
      }
      for (const line of kept) {
        writer.shards.push(line.shard);
        writer.#progress.set(line.shard.split, line.progress);
        const written = writer.#idsOf(line.shard.split);
        walkShard(folder, line.shard, (sample) => {
          for (const id of imageIdsOf(sample)) written.add(id);
        });
      }
      await journal.write(
        [JSON.stringify({ fingerprint }), ...kept.map((line) => JSON.stringify(line)), ''].join('\n'),
      );
      await journal.sync();
      await rename(`${path}.new`, path);
      for (const name of await readdir(folder)) if (PARTIAL.test(name)) await rm(join(folder, name));
      return writer;
    } catch (error) {
      throw writeError(folder, error);
    }
  }

  progress(split: string): SplitProgress {
    let progress = this.#progress.get(split);
    if (!progress) {
      if (this.#progress.size === MOST_SPLITS)
        throw new DrmError(
          'BAD_FILE',
          `[data] expected at most ${MOST_SPLITS} splits, found another: ${split}; name few splits, such as train and test`,
        );
      progress = { through: -1, dropped: {}, kept: [] };
      this.#progress.set(split, progress);
    }
    return progress;
  }

  /** Records must come in the order of their ordinals. */
  drop(split: string, reason: string): void {
    const { dropped } = this.progress(split);
    dropped[reason] = (dropped[reason] ?? 0) + 1;
  }

  #idsOf(split: string): IdTable {
    const ids = this.#written.get(split) ?? new IdTable();
    this.#written.set(split, ids);
    return ids;
  }

  isWritten(split: string): IsWritten {
    return (id) => (this.#written.get(split)?.find(id) ?? -1) >= 0;
  }

  /** Distinct images by split. */
  images(): Map<string, number> {
    return new Map([...this.#written].map(([split, ids]) => [split, ids.length]));
  }

  async add(split: string, ordinal: number, note: number, made: Sample): Promise<void> {
    const progress = this.progress(split);
    const ids = this.#idsOf(split);
    const isNew = ({ id }: Sample['files'][number]) => {
      const before = ids.length;
      return id === undefined || ids.add(id) === before;
    };
    const sample = { ...made, files: made.files.filter(isNew) };
    try {
      let shard = this.#open.get(split);
      if (!shard) {
        const index = this.shards.filter((done) => done.split === split).length;
        shard = await OpenShard.create(this.folder, `${split}-${String(index).padStart(5, '0')}.tar`);
        this.#open.set(split, shard);
      }
      await shard.add(sample);
      progress.through = ordinal;
      for (let i = 0; i <= note; i++) progress.kept[i] ??= 0;
      progress.kept[note] = (progress.kept[note] ?? 0) + 1;
      if (shard.bytes >= this.limits.bytes || shard.count >= this.limits.samples) await this.#finish(split, shard);
    } catch (error) {
      throw writeError(this.folder, error);
    }
  }

  async #finish(split: string, open: OpenShard): Promise<void> {
    const sha256 = await open.finish();
    await rename(open.path, join(this.folder, open.name));
    await syncFolder(this.folder);
    this.#open.delete(split);
    const shard: Shard = { name: open.name, split, count: open.count, bytes: open.bytes, sha256 };
    this.shards.push(shard);
    const line: JournalLine = { shard, progress: this.progress(split) };
    await this.journal.write(`${JSON.stringify(line)}\n`);
    await this.journal.sync();
  }

  /** Samples of all splits. */
  get kept(): number {
    let kept = 0;
    for (const progress of this.#progress.values()) kept += progress.kept.reduce((sum, n) => sum + (n ?? 0), 0);
    return kept;
  }

  /** Ordinal of the last record that is written. */
  get furthest(): number {
    return Math.max(-1, ...[...this.#progress.values()].map(({ through }) => through));
  }

  /**
   * Finishes every shard, whose records go to `last`: drops after the last sample are counted in, too. The journal stays
   * until the manifest is in place.
   */
  async finish(last = Number.MAX_SAFE_INTEGER): Promise<void> {
    try {
      for (const [split, shard] of this.#open) {
        this.progress(split).through = last;
        await this.#finish(split, shard);
      }
      await this.journal.close();
    } catch (error) {
      throw writeError(this.folder, error);
    }
  }

  /** Gives up the unfinished shards; what is finished stays. */
  async abandon(): Promise<void> {
    for (const shard of this.#open.values()) {
      await shard.file.close().catch(() => {});
      await rm(shard.path, { force: true }).catch(() => {});
    }
    this.#open.clear();
    await this.journal.close().catch(() => {});
  }

  splits(): Map<string, SplitProgress> {
    return this.#progress;
  }
}

const LINE = objectOf<JournalLine>({
  shard: SHARD,
  progress: objectOf<SplitProgress>({
    through: number,
    dropped: mapOf(count),
    kept: listOf(optional(count)) as Shape<number[]>,
  }),
});

/** Undefined for what is none. */
function journalLine(value: unknown): JournalLine | undefined {
  try {
    return LINE(value, '');
  } catch {
    return undefined;
  }
}

/** Whole lines only; whatever follows the first one that is not JSON was being written when the process died. */
function readJournal(path: string): unknown[] {
  const lines: unknown[] = [];
  for (const text of readFileSync(path, 'utf8').split('\n')) {
    try {
      lines.push(JSON.parse(text));
    } catch {
      break;
    }
  }
  return lines;
}
