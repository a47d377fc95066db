// What a data set's reader gives to `drm data prepare`. A record is cheap until it is made: on resume the records of
// finished shards are listed again but not made again.
import type { Drop } from '../io/drop.js';
import type { Manifest, SourceNote } from './manifest.js';

/** A folder in the set's for what a source keeps until the set is complete. */
export const WORK = '.pictures';

export interface Sample {
  /** Unique in the set; letters, digits, `-` and `_`, at most 80. WebDataset cuts names at the first dot. */
  key: string;
  /**
   * The images: extension (such as `webp`, or `chosen.jpg`) and bytes. One with an id is written with the first sample of
   * the split that has it, and only there.
   */
  files: { extension: string; bytes: Uint8Array; id?: string }[];
  /** The sidecar, `<key>.json`; `caption` or `prompt` is what training reads. */
  json: Record<string, unknown>;
}

/** Of one split: is an image of this id written already? Then its bytes are not needed. */
export type IsWritten = (id: string) => boolean;

export interface Planned {
  split: string;
  /** Which of the source's notes it belongs to. */
  note: number;
  /** Bytes of files that it holds, or will, until it is written; few of those that hold much are made beside each other. */
  bytes?(): number | Promise<number>;
  /** All that costs: reading, decoding, encoding. Runs beside others. */
  make(isWritten: IsWritten): Promise<Sample | Drop>;
}

/** What a source may know of the preparation that lists its records. */
export interface Listing {
  /** Was this record of the split (counted over all records, from 0) made by an earlier run? Then its images are not needed. */
  isDone(split: string, ordinal: number): boolean;
  /** Pairs that are wanted at most. */
  most: number;
  signal: AbortSignal;
  /** Of work before the first record. */
  onProgress(label: string, done: number, total: number, unit: string): void;
}

export interface Source {
  kind: Manifest['kind'];
  notes: SourceNote[];
  /** What decides the result beside the tool: options, versions, a fingerprint of the input. */
  settings: Record<string, unknown>;
  /** Number of records, when it is known before reading. */
  total?: number;
  /** In a fixed order. A Drop here is found without touching images. */
  records(listing: Listing): AsyncIterable<Planned | Drop> | Iterable<Planned | Drop>;
  /** Files beside the shards: attributions, prompt lists. */
  extras: { name: string; text: string }[];
  /** What the user should hear when no record could be used, if the source knows better than the counts. */
  fault?(): Error | undefined;
  /** Gives back what is held open, at the end or after a failure. */
  close?(): Promise<void>;
}
