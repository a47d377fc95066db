// A preference pair, as every source of pairs gives it and every prepared set of pairs holds it: two images of one
// prompt, of which people (or a rule) preferred the one.
import { count, flag, listOf, number, objectOf, optional, type Shape, text } from '../../common/shape.js';
import { Drop } from '../io/drop.js';
import { decodeImage, encodeLossless, squashImage } from '../io/image.js';
import type { SourceNote } from './manifest.js';
import type { ShardSample } from './shard_reader.js';
import type { IsWritten, Listing, Planned, Sample, Source } from './source.js';

/** What is known of a pair beside its images; the fields of `<key>.json`. */
export interface PairFields {
  /** As the data set has it, byte for byte. */
  prompt: string;
  /** The data set: hpdv3, hpdv2, imagereward, pickapic, emoji-prefs, or the name of a user's own list. */
  source: string;
  /** Reliability of the choice, where the data set states one. */
  confidence?: number;
  chosen_model?: string;
  rejected_model?: string;
  /** The ranking that the pair was made from. */
  group?: string;
  /** Ranks of the chosen and the rejected image in it, lower is better. */
  ranks?: [number, number];
  /** Neither was preferred; kept for protocols that count ties. `chosen` is then the one that the data set has first. */
  tie?: true;
  /** The record of the data set's list (from 0), and the positions of the chosen and the rejected image in it. */
  row?: number;
  places?: [number, number];
  /** Votes for the chosen and the rejected image. */
  votes?: [number, number];
  /** Of pairs whose order is known by construction: what was done to the rejected image, and how strongly. */
  kind?: string;
  grade?: number;
}

const two = listOf(number) as Shape<[number, number]>;

/** `<key>.json`, also of a set from elsewhere. */
export const PAIR_SIDECAR = objectOf({
  prompt: text,
  chosen_id: text,
  rejected_id: text,
  source: text,
  split: text,
  confidence: optional(number),
  chosen_model: optional(text),
  rejected_model: optional(text),
  group: optional(text),
  ranks: optional(two),
  tie: optional(flag),
  row: optional(count),
  places: optional(two),
  votes: optional(two),
  kind: optional(text),
  grade: optional(number),
}) as Shape<PairFields & { split: string; chosen_id: string; rejected_id: string }>;

export interface PairImage {
  /** The data set's own name of the image; the same name is the same image, which is stored once. */
  id: string;
  /** Bytes of the encoded file; 0 when it is not there. */
  size?(): number | Promise<number>;
  /** The encoded file. Not called when the image is in the set already. */
  read(): Promise<Uint8Array | Drop>;
}

export interface Pair {
  split: string;
  /** Which of the source's notes it belongs to; the first by default. */
  note?: number;
  fields: PairFields;
  chosen: PairImage;
  rejected: PairImage;
}

/** A pair whose order is found from images that are made for it. */
export interface LatePair extends Pick<Pair, 'split' | 'note'> {
  /** Not called when the pair is in the set already. */
  decide(): Promise<Pair | Drop>;
}

export interface PairSourceOptions {
  notes: SourceNote[];
  /** What decides the result beside the tool: options, versions, a fingerprint of the input. */
  settings: Record<string, unknown>;
  total?: number;
  /** In a fixed order. A Drop is a pair that is left out without touching images. */
  pairs(listing: Listing): AsyncIterable<Pair | LatePair | Drop> | Iterable<Pair | LatePair | Drop>;
  extras?: Source['extras'];
  fault?: Source['fault'];
  close?: Source['close'];
  /** Edge of square, lossless copies of larger images; the images' own bytes when left out. */
  size?: number | undefined;
  /** Writes an image with every pair that uses it, for readers that know no ids. */
  selfContained?: boolean;
}

/** When several reasons apply, the first of these is the one. */
const REASONS = [
  'low_confidence',
  'no_label',
  'tie',
  'no_single_preference',
  'missing_image',
  'undecodable_image',
  'too_large',
  'too_many_pixels',
];

/** So many images, of so many bytes, are remembered while neighbouring pairs that share one are being made. */
const REMEMBERED = 64;
const REMEMBERED_BYTES = 64 << 20;

type File = { extension: string; bytes: Uint8Array };

const SIDES = ['chosen', 'rejected'] as const;

/** Ids of different data sets are different images. */
const idIn = (source: unknown, id: unknown): string => `${source}\n${id}`;

/** Of both sides, whether or not the pair holds their files. */
export const pairIdsOf = (sidecar: Record<string, unknown>): [string, string] => [
  idIn(sidecar.source, sidecar.chosen_id),
  idIn(sidecar.source, sidecar.rejected_id),
];

/** Ids of the images that come with this sample, as in Sample.files; none for captions. */
export function imageIdsOf({ sidecar, files }: Pick<ShardSample, 'sidecar' | 'files'>): string[] {
  const ids = pairIdsOf(sidecar);
  return SIDES.flatMap((side, i) =>
    files.some(({ extension }) => extension.startsWith(`${side}.`)) ? [ids[i] as string] : [],
  );
}

/** Checks that an image decodes, and reduces it if asked. The container is found from the bytes. */
async function makeFile(image: PairImage, size: number | undefined): Promise<File | Drop> {
  const bytes = await image.read();
  if (bytes instanceof Drop) return bytes;
  const decoded = await decodeImage(bytes);
  if (decoded instanceof Drop) return new Drop(decoded.reason, `${image.id}: ${decoded.detail}`);
  if (size === undefined || (decoded.width <= size && decoded.height <= size))
    return { extension: decoded.extension, bytes };
  return { extension: 'webp', bytes: await encodeLossless(await squashImage(decoded, size)) };
}

async function bytesOf({ chosen, rejected }: Pair): Promise<number> {
  return ((await chosen.size?.()) ?? 0) + ((await rejected.size?.()) ?? 0);
}

/** The files of the images that were used last. */
class Recent {
  readonly #files = new Map<string, { file: Promise<File | Drop>; bytes: number }>();
  #bytes = 0;

  get(id: string, make: () => Promise<File | Drop>): Promise<File | Drop> {
    const found = this.#files.get(id) ?? { file: make(), bytes: 0 };
    const isNew = !this.#files.delete(id);
    this.#files.set(id, found); // last used, last in the map
    if (isNew)
      found.file.then(
        (file) => {
          if (this.#files.get(id) !== found || file instanceof Drop) return;
          found.bytes = file.bytes.length;
          this.#bytes += found.bytes;
          this.#forget();
        },
        () => {}, // told to whoever asked for it
      );
    this.#forget();
    return found.file;
  }

  #forget(): void {
    for (const [id, { bytes }] of this.#files) {
      if (this.#files.size <= REMEMBERED && this.#bytes <= REMEMBERED_BYTES) return;
      this.#files.delete(id);
      this.#bytes -= bytes;
    }
  }
}

/** Makes a Source for `prepare()` of pairs that name their images. */
export function pairSource(options: PairSourceOptions): Source {
  const { notes, settings, total, size, selfContained = false, extras = [] } = options;
  const recent = new Recent();
  const fileOf = (id: string, image: PairImage): Promise<File | Drop> => recent.get(id, () => makeFile(image, size));
  const make = async (key: string, planned: Pair | LatePair, isWritten: IsWritten): Promise<Sample | Drop> => {
    const pair = 'decide' in planned ? await planned.decide() : planned;
    if (pair instanceof Drop) return pair;
    const files: Sample['files'] = [];
    const drops: Drop[] = [];
    await Promise.all(
      SIDES.map(async (side, i) => {
        const id = idIn(pair.fields.source, pair[side].id);
        if (!selfContained && isWritten(id)) return;
        const file = await fileOf(id, pair[side]);
        if (file instanceof Drop) drops.push(file);
        else files[i] = { extension: `${side}.${file.extension}`, bytes: file.bytes, ...(!selfContained && { id }) };
      }),
    );
    const rank = ({ reason }: Drop) => (REASONS.includes(reason) ? REASONS.indexOf(reason) : REASONS.length);
    const [drop] = drops.sort((a, b) => rank(a) - rank(b));
    if (drop) return drop;
    const { prompt, source, ...rest } = pair.fields;
    const ids = { chosen_id: pair.chosen.id, rejected_id: pair.rejected.id };
    return { key, files: files.filter(Boolean), json: { prompt, ...ids, source, split: pair.split, ...rest } };
  };
  async function* records(listing: Listing): AsyncGenerator<Planned | Drop> {
    let ordinal = 0;
    for await (const pair of options.pairs(listing)) {
      const key = String(ordinal++).padStart(9, '0');
      if (pair instanceof Drop) yield pair;
      else
        yield {
          split: pair.split,
          note: pair.note ?? 0,
          bytes: () => ('decide' in pair ? 0 : bytesOf(pair)),
          make: (isWritten) => make(key, pair, isWritten),
        };
    }
  }
  return {
    kind: 'pairs',
    notes,
    settings: {
      ...settings,
      ...(size !== undefined && { size }),
      ...(selfContained && { self_contained: true }),
    },
    ...(total !== undefined && { total }),
    records,
    extras,
    ...(options.fault && { fault: options.fault }),
    ...(options.close && { close: options.close }),
  };
}
