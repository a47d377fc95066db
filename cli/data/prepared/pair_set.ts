// A prepared set of preference pairs, open for reading. In memory are places and image ids, some 150 bytes a pair;
// prompts and images are read when asked for.
import { DrmError } from '../../../binding/error.js';
import { IdTable } from '../io/id_table.js';
import { type Manifest, readManifest, type Shard } from './manifest.js';
import { PAIR_SIDECAR, type PairFields, pairIdsOf } from './pair.js';
import { checkShards, type OpenOptions, ShardFiles, walkShard } from './shard_reader.js';

/** A pair's sidecar; `chosen` and `rejected` are images of the set, by index. */
export interface PairRecord extends PairFields {
  key: string;
  split: string;
  chosen: number;
  rejected: number;
}

export class PairSet {
  readonly #ids = new IdTable();
  readonly #files: ShardFiles;
  /** The first pair of each shard, and the end. */
  readonly #firsts: number[] = [0];
  readonly #jsonAt: Float64Array;
  readonly #jsonSize: Uint32Array;
  readonly #chosen: Uint32Array;
  readonly #rejected: Uint32Array;
  /** Of each image; a size of 0 where no file was found for it yet. */
  readonly #imageShard: Uint32Array;
  readonly #imageAt: Float64Array;
  readonly #imageSize: Uint32Array;

  private constructor(
    readonly folder: string,
    readonly manifest: Manifest,
    readonly shards: readonly Shard[],
  ) {
    const pairs = shards.reduce((sum, { count }) => sum + count, 0);
    this.#files = new ShardFiles(folder, shards);
    this.#jsonAt = new Float64Array(pairs);
    this.#jsonSize = new Uint32Array(pairs);
    this.#chosen = new Uint32Array(pairs);
    this.#rejected = new Uint32Array(pairs);
    this.#imageShard = new Uint32Array(2 * pairs); // the system gives pages as they are written
    this.#imageAt = new Float64Array(2 * pairs);
    this.#imageSize = new Uint32Array(2 * pairs);
  }

  /** Throws DrmError BAD_FILE naming the shard that is missing, cut, altered or malformed. */
  static async open(folder: string, options: OpenOptions = {}): Promise<PairSet> {
    const manifest = readManifest(folder, 'pairs');
    const set = new PairSet(folder, manifest, await checkShards(folder, manifest, options));
    if (set.length === 0)
      throw new DrmError('BAD_FILE', `[data] ${folder}: expected pairs, found none`, { file: folder });
    for (const index of set.shards.keys()) set.#index(index);
    for (let image = 0; image < set.imageCount; image++)
      if (set.#imageSize[image] === 0)
        throw new DrmError(
          'BAD_FILE',
          `[data] ${folder}: no shard holds image ${set.imageId(image)}; prepare the set again`,
          { file: folder },
        );
    return set;
  }

  #index(index: number): void {
    const shard = this.shards[index] as Shard;
    let pair = this.#firsts.at(-1) as number;
    walkShard(this.folder, shard, ({ key, sidecar, json, files }) => {
      for (const field of ['prompt', 'chosen_id', 'rejected_id', 'source'])
        if (typeof sidecar[field] !== 'string') throw new Error(`${key}.json: expected a text ${field}`);
      if (pair === this.length) throw new Error(`expected ${shard.count} samples, found more`);
      // Each split has its images itself; the same name in two may be two images (HPDv2 counts in each).
      const idsOf = pairIdsOf(sidecar).map((id) => this.#ids.add(`${shard.split}\n${id}`));
      const [chosen, rejected] = idsOf as [number, number];
      this.#jsonAt[pair] = json.at;
      this.#jsonSize[pair] = json.size;
      this.#chosen[pair] = chosen;
      this.#rejected[pair] = rejected;
      pair += 1;
      for (const { extension, at, size } of files) {
        const image = /^chosen\./.test(extension) ? chosen : /^rejected\./.test(extension) ? rejected : undefined;
        if (image === undefined || size === 0)
          throw new Error(`${key}.${extension}: expected an image named chosen or rejected`);
        if (this.#imageSize[image] !== 0) continue; // the same one, with another pair
        this.#imageShard[image] = index;
        this.#imageAt[image] = at;
        this.#imageSize[image] = size;
      }
    });
    this.#firsts.push(pair);
  }

  /** Pairs. */
  get length(): number {
    return this.#jsonAt.length;
  }

  /** Distinct images; those of two splits are distinct. */
  get imageCount(): number {
    return this.#ids.length;
  }

  /** The pair's images, by index, without reading anything. */
  chosen(pair: number): number {
    return this.#chosen[pair] as number;
  }

  rejected(pair: number): number {
    return this.#rejected[pair] as number;
  }

  shardOf(pair: number): Shard {
    return this.shards[this.#shardIndex(pair)] as Shard;
  }

  #shardIndex(pair: number): number {
    let low = 0;
    for (let high = this.shards.length - 1; low < high; ) {
      const middle = (low + high + 1) >> 1;
      if ((this.#firsts[middle] as number) <= pair) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Rejects with DrmError BAD_FILE when the shard is gone or cut. */
  async record(pair: number): Promise<PairRecord> {
    const place = { at: this.#jsonAt[pair] as number, size: this.#jsonSize[pair] as number };
    const { key, sidecar } = await this.#files.sidecar(
      this.#shardIndex(pair),
      place,
      () => `pair ${pair}`,
      PAIR_SIDECAR,
    );
    const { chosen_id: _, rejected_id: __, ...fields } = sidecar;
    return { ...fields, key, chosen: this.chosen(pair), rejected: this.rejected(pair) };
  }

  /** The data set's own name of an image. */
  imageId(image: number): string {
    return this.#ids.text(image).replace(/^[^\n]*\n[^\n]*\n/, '');
  }

  /** Bytes of an image's file. */
  imageSize(image: number): number {
    return this.#imageSize[image] as number;
  }

  /** An image's file, encoded as it was found. Rejects with DrmError BAD_FILE when its shard is gone or cut. */
  image(image: number): Promise<Uint8Array> {
    const place = { at: this.#imageAt[image] as number, size: this.#imageSize[image] as number };
    return this.#files.read(this.#imageShard[image] as number, place, () => this.imageId(image));
  }

  close(): Promise<void> {
    return this.#files.close();
  }
}
