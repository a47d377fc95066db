// From a source's records to a prepared folder: makes records beside each other, writes them in order, and goes on
// where an earlier run stopped. What is in the folder at the end does not depend on how often it was interrupted.
import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { prepareFolder, sweepUnfinished, syncFolder, writeAtomically } from '../../common/files.js';
import { VERSION } from '../../common/version.js';
import { RunLock } from '../../runs/lock.js';
import { Drop } from '../io/drop.js';
import { FORMAT_VERSION, MANIFEST, type Manifest, readManifest } from './manifest.js';
import { JOURNAL, type ShardLimits, ShardWriter } from './shard_writer.js';
import { type Listing, type Planned, type Sample, type Source, WORK } from './source.js';

export interface PrepareOptions {
  limits: ShardLimits;
  signal: AbortSignal;
  onProgress(done: number, total: number): void;
  /** Work before the first record: unpacking. */
  onStage?: Listing['onProgress'];
  /** So many samples are enough: those that come first. */
  most?: number;
  /** Each drop as it is found; on a resumed run only those after the finished shards. */
  onDrop(drop: Drop): void;
}

export interface Prepared {
  manifest: Manifest;
  /** Records of finished shards of earlier runs, which were not made again. */
  resumed: number;
  /** The folder was complete already. */
  present: boolean;
}

const fingerprintOf = (settings: unknown): string =>
  createHash('sha256').update(JSON.stringify(settings)).digest('hex');

const sorted = <T>(entries: Iterable<[string, T]>): Record<string, T> =>
  Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));

/** Throws DrmError: CANCELLED on abort, DISK, BAD_REQUEST when the folder holds something else. */
export async function prepare(source: Source, folder: string, options: PrepareOptions): Promise<Prepared> {
  const settings = {
    ...source.settings,
    shard_bytes: options.limits.bytes,
    ...(Number.isFinite(options.limits.samples) && { shard_samples: options.limits.samples }),
    ...(options.most !== undefined && { max_pairs: options.most }),
  };
  await prepareFolder(folder);
  const lock = await RunLock.take(folder);
  let isComplete = false;
  try {
    const complete = completeSet(folder, settings);
    await removeLeftovers(folder, source);
    const prepared = complete
      ? { manifest: complete, resumed: complete.kept, present: true }
      : await write(source, settings, folder, options);
    isComplete = true;
    return prepared;
  } catch (error) {
    if (error instanceof DrmError && error.code === 'DISK')
      throw new DrmError(
        'DISK',
        `${error.message}; finished shards are kept, and the same command goes on after them`,
        error.details,
      );
    throw error;
  } finally {
    await source.close?.();
    // Here, so that a run that was killed after writing the manifest is cleaned up after, too.
    if (isComplete) for (const name of [WORK, JOURNAL]) await rm(join(folder, name), { recursive: true, force: true });
    await lock.release();
  }
}

async function write(
  source: Source,
  settings: Record<string, unknown>,
  folder: string,
  options: PrepareOptions,
): Promise<Prepared> {
  const fingerprint = fingerprintOf([FORMAT_VERSION, VERSION, settings]);
  const writer = await ShardWriter.open(folder, fingerprint, options.limits);
  try {
    const { records, cheap, resumed } = await writeRecords(source, writer, options);
    await writer.finish(writer.kept >= (options.most ?? Number.POSITIVE_INFINITY) ? records - 1 : undefined);
    const manifest = summary(source, settings, writer, records, cheap);
    if (manifest.kept === 0)
      throw (
        source.fault?.() ??
        new DrmError(
          'BAD_FILE',
          `[data] expected at least one usable record, found none in ${records}${
            records > 0
              ? ` (${Object.entries(manifest.dropped)
                  .map(([why, n]) => `${n} ${why}`)
                  .join(', ')})`
              : ''
          }; nothing was prepared`,
          { records: String(records) },
        )
      );
    for (const { name, text } of source.extras) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeAtomically(join(folder, name), text);
    }
    await writeAtomically(join(folder, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
    await syncFolder(folder);
    return { manifest, resumed, present: false };
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

/** What a process killed in the middle of an atomic write left behind. */
async function removeLeftovers(folder: string, source: Source): Promise<void> {
  for (const name of [MANIFEST, ...source.extras.map((extra) => extra.name)]) {
    const within = dirname(join(folder, name));
    if (existsSync(within)) await sweepUnfinished(within, [basename(name)]);
  }
}

/** The folder's manifest when it is this very preparation, finished. */
function completeSet(folder: string, settings: Record<string, unknown>): Manifest | undefined {
  if (!existsSync(join(folder, MANIFEST))) return undefined;
  const manifest = readManifest(folder);
  if (JSON.stringify(manifest.settings) !== JSON.stringify(settings))
    throw new DrmError(
      'BAD_REQUEST',
      `[data] ${folder}: holds a set prepared with other settings or from another input (${JSON.stringify(manifest.settings)}); name another --out, or remove the folder`,
      { file: folder },
    );
  for (const shard of manifest.shards) {
    const file = join(folder, shard.name);
    if (!existsSync(file) || statSync(file).size !== shard.bytes)
      throw new DrmError(
        'BAD_FILE',
        `[data] ${file}: expected ${shard.bytes} bytes, as ${MANIFEST} says, found ${existsSync(file) ? statSync(file).size : 'no file'}; remove the folder and prepare it again`,
        { file },
      );
  }
  return manifest;
}

/** A record that is being made, and what of its files is in memory. */
interface Waiting {
  ordinal: number;
  planned: Planned | undefined;
  bytes: number;
  made: Promise<Sample | Drop | Failed>;
}

/** Bytes of the files of all records that are being made. One that holds more is made alone. */
const MOST_HELD = 128 << 20;

async function writeRecords(source: Source, writer: ShardWriter, options: PrepareOptions) {
  const { signal, most = Number.POSITIVE_INFINITY } = options;
  const cheap = new Map<string, number>();
  // sharp works on libuv's four threads; a few more records wait for them, and that bounds the memory.
  const atOnce = Math.max(4, availableParallelism()) + 4;
  const waiting: Waiting[] = [];
  let held = 0;
  let records = 0;
  let resumed = 0;
  let settled = 0;
  let left = 0;
  /** Enough was kept, by this run or an earlier one, and this record comes after all of that. */
  const isEnough = (ordinal: number) => writer.kept >= most && ordinal > writer.furthest;
  const settle = async () => {
    const next = waiting.shift();
    if (!next) return;
    const made = await next.made;
    held -= next.bytes;
    if (isEnough(next.ordinal)) return;
    records = Math.max(records, next.ordinal + 1); // records of finished shards do not wait, and may be further on
    if (made instanceof Failed) throw made.error;
    if (made instanceof Drop) {
      if (next.planned) writer.drop(next.planned.split, made.reason);
      else cheap.set(made.reason, (cheap.get(made.reason) ?? 0) + 1);
      options.onDrop(made);
    } else if (next.planned) await writer.add(next.planned.split, next.ordinal, next.planned.note, made);
    // What was left out without being made costs no time and would spoil the estimate.
    if (next.planned) settled += 1;
    else left += 1;
    options.onProgress(settled + resumed, Math.max(0, Math.min(most, (source.total ?? 0) - left)));
  };
  const listing: Listing = {
    isDone: (split, ordinal) => ordinal <= writer.progress(split).through,
    most,
    signal,
    onProgress: options.onStage ?? (() => {}),
  };
  let listed = 0;
  try {
    for await (const record of source.records(listing)) {
      if (signal.aborted) break;
      const ordinal = listed++;
      if (isEnough(ordinal)) break;
      if (record instanceof Drop)
        waiting.push({ ordinal, planned: undefined, bytes: 0, made: Promise.resolve(record) });
      else if (listing.isDone(record.split, ordinal)) {
        resumed += 1;
        records = ordinal + 1;
        continue;
      } else {
        const bytes = (await record.bytes?.()) ?? 0;
        while (waiting.length > 0 && held + bytes > MOST_HELD) await settle();
        held += bytes;
        waiting.push({
          ordinal,
          planned: record,
          bytes,
          made: record.make(writer.isWritten(record.split)).catch((error: unknown) => new Failed(error)),
        });
      }
      if (waiting.length >= atOnce) await settle();
    }
    while (waiting.length > 0 && !signal.aborted) await settle();
  } finally {
    await Promise.all(waiting.map((record) => record.made));
  }
  if (signal.aborted) throw new DrmError('CANCELLED', `stopped after ${settled + resumed} records`);
  return { records, cheap, resumed };
}

/** An error of making, kept until its turn, so that no rejection goes unheard. */
class Failed {
  constructor(readonly error: unknown) {}
}

function summary(
  source: Source,
  settings: Record<string, unknown>,
  writer: ShardWriter,
  records: number,
  cheap: Map<string, number>,
): Manifest {
  const dropped = new Map(cheap);
  const splits = new Map<string, number>();
  const kept = source.notes.map(() => 0);
  for (const [split, progress] of writer.splits()) {
    for (const [reason, count] of Object.entries(progress.dropped))
      dropped.set(reason, (dropped.get(reason) ?? 0) + count);
    for (const [note, count] of progress.kept.entries()) kept[note] = (kept[note] ?? 0) + count;
    const count = progress.kept.reduce((sum, n) => sum + n, 0);
    if (count > 0) splits.set(split, count);
  }
  return {
    format: 'drm-data',
    version: FORMAT_VERSION,
    kind: source.kind,
    tool: `drm ${VERSION}`,
    settings,
    records,
    kept: [...splits.values()].reduce((sum, n) => sum + n, 0),
    dropped: sorted(dropped),
    sources: source.notes.map((note, i) => ({ ...note, kept: kept[i] ?? 0 })),
    splits: sorted(splits),
    ...(source.kind === 'pairs' && { images: sorted(writer.images()) }),
    shards: [...writer.shards].sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
}
