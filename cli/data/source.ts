// What a data set's reader gives to `drm data prepare`. A record is cheap until it is made: on resume the records of
// finished shards are listed again but not made again.
import type { SourceNote } from './manifest.js';

export interface Sample {
  /** Unique in the set; letters, digits, `-` and `_`, at most 80. WebDataset cuts names at the first dot. */
  key: string;
  /** The pictures: extension (such as `webp`, later `chosen.jpg`) and bytes. */
  files: { extension: string; bytes: Uint8Array }[];
  /** The sidecar, `<key>.json`; `caption` is what training reads. */
  json: { caption: string } & Record<string, unknown>;
}

/** A record that is left out: counted by reason, shown with its detail when the user asks. Not an error. */
export class Drop {
  constructor(
    /** Snake case, as in the manifest. */
    readonly reason: string,
    readonly detail: string,
  ) {}
}

export interface Planned {
  split: string;
  /** Which of the source's notes it belongs to. */
  note: number;
  /** All that costs: reading, decoding, encoding. Runs beside others. */
  make(): Promise<Sample | Drop>;
}

export interface Source {
  notes: SourceNote[];
  /** What decides the result beside the tool: options, versions, a fingerprint of the input. */
  settings: Record<string, unknown>;
  /** Number of records, when it is known before reading. */
  total?: number;
  /** In a fixed order. A Drop here is found without touching pictures. */
  records(): AsyncIterable<Planned | Drop> | Iterable<Planned | Drop>;
  /** Files beside the shards: attributions, prompt lists. */
  extras: { name: string; text: string }[];
}
