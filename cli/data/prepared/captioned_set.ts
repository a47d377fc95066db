// A prepared set of captioned images, open for reading: captions and places of all samples in memory, images read
// when asked for.
import { DrmError } from '../../../binding/error.js';
import { anything, mapOf } from '../../common/shape.js';
import { type Manifest, readManifest, type Shard } from './manifest.js';
import { checkShards, type OpenOptions, ShardFiles, walkShard } from './shard_reader.js';

/** A sample's sidecar; which fields there are beside the caption depends on the source. */
export type SampleMeta = Record<string, unknown>;

export class CaptionedSet {
  readonly #keys: string[] = [];
  readonly #captions: string[] = [];
  readonly #shard: number[] = [];
  readonly #jsonAt: number[] = [];
  readonly #jsonSize: number[] = [];
  readonly #imageAt: number[] = [];
  readonly #imageSize: number[] = [];
  readonly #files: ShardFiles;

  private constructor(
    readonly folder: string,
    readonly manifest: Manifest,
    readonly shards: readonly Shard[],
  ) {
    this.#files = new ShardFiles(folder, shards);
  }

  /** Throws DrmError BAD_FILE naming the shard that is missing, cut, altered or malformed. */
  static async open(folder: string, options: OpenOptions = {}): Promise<CaptionedSet> {
    const manifest = readManifest(folder, 'captions');
    const set = new CaptionedSet(folder, manifest, await checkShards(folder, manifest, options));
    for (const index of set.shards.keys()) set.#index(index);
    if (set.length === 0)
      throw new DrmError('BAD_FILE', `[data] ${folder}: expected samples, found none`, { file: folder });
    return set;
  }

  #index(index: number): void {
    const shard = this.shards[index] as Shard;
    walkShard(this.folder, shard, ({ key, sidecar, json, files }) => {
      if (typeof sidecar.caption !== 'string') throw new Error(`${key}.json: expected a caption`);
      const [image, further] = files;
      if (!image || further) throw new Error(`${key}: expected one image after its .json, found ${files.length}`);
      this.#keys.push(key);
      this.#captions.push(sidecar.caption);
      this.#shard.push(index);
      this.#jsonAt.push(json.at);
      this.#jsonSize.push(json.size);
      this.#imageAt.push(image.at);
      this.#imageSize.push(image.size);
    });
  }

  get length(): number {
    return this.#keys.length;
  }

  key(i: number): string {
    return this.#keys[i] as string;
  }

  caption(i: number): string {
    return this.#captions[i] as string;
  }

  shardOf(i: number): Shard {
    return this.shards[this.#shard[i] as number] as Shard;
  }

  /** Bytes of the image's file. */
  size(i: number): number {
    return this.#imageSize[i] as number;
  }

  /** All of the sidecar (concept, category, style, source, licence, split ... as the source gives them). */
  async meta(i: number): Promise<SampleMeta> {
    const place = { at: this.#jsonAt[i] as number, size: this.#jsonSize[i] as number };
    return (await this.#files.sidecar(this.#shard[i] as number, place, () => this.key(i), mapOf(anything))).sidecar;
  }

  /** The image's file. Rejects with DrmError BAD_FILE when its shard is gone or cut. */
  bytes(i: number): Promise<Buffer> {
    return this.#read(i, this.#imageAt[i] as number, this.#imageSize[i] as number);
  }

  #read(i: number, at: number, size: number): Promise<Buffer> {
    return this.#files.read(this.#shard[i] as number, { at, size }, () => this.key(i));
  }

  close(): Promise<void> {
    return this.#files.close();
  }
}
