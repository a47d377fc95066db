// Whether a CLIP finds an image's own caption among others: real images of a prepared set against their captions.
import { DrmError } from '../../binding/error.js';
import type { Features, JobOptions } from '../../binding/types.js';
import { groupedBy } from '../common/grouped_by.js';
import { Drop } from '../data/io/drop.js';
import { decodeImage } from '../data/io/image.js';
import type { CaptionedSet } from '../data/prepared/captioned_set.js';
import type { Image } from '../image/write.js';
import { epochOrder } from '../random/order.js';
import { cosine, joined, ranks, rowsOf } from '../rewards/features.js';
import type { FeatureSpace } from '../rewards/reward.js';
import { type Estimate, estimate } from './bootstrap.js';

/** Images decoded at a time. */
const CHUNK = 64;

export interface EvaluationOptions extends JobOptions {
  onImages?: (done: number, total: number) => void;
  onWarning?: (message: string) => void;
}

/** Features of images that are read when their turn comes; `kept` lists those that could be read. */
export async function embedImages(
  space: FeatureSpace,
  count: number,
  read: (i: number) => Promise<Image | string>,
  { onImages, onWarning, ...job }: EvaluationOptions,
): Promise<{ features: Features; kept: number[] }> {
  const parts: Features[] = [];
  const kept: number[] = [];
  for (let begin = 0; begin < count; begin += CHUNK) {
    const wanted = Array.from({ length: Math.min(CHUNK, count - begin) }, (_, i) => begin + i);
    const images: Image[] = [];
    for (const [i, image] of (await Promise.all(wanted.map(read))).entries()) {
      if (typeof image === 'string') {
        onWarning?.(image);
        continue;
      }
      images.push(image);
      kept.push(begin + i);
    }
    if (images.length > 0) parts.push(await space.images(images, job));
    onImages?.(begin + wanted.length, count);
  }
  return { features: joined(parts, parts[0]?.width ?? 0), kept };
}

export async function readSample(set: CaptionedSet, i: number): Promise<Image | string> {
  const image = await decodeImage(await set.bytes(i));
  return image instanceof Drop ? `${set.key(i)}: ${image.reason}, left out: ${image.detail}` : image;
}

/** Captions, each once, and where each image's is among them. */
export async function embedCaptions(
  space: FeatureSpace,
  captions: readonly string[],
  job: JobOptions,
): Promise<{ features: Features; of: number[] }> {
  const index = new Map<string, number>();
  const of = captions.map((caption) => {
    const known = index.get(caption);
    if (known !== undefined) return known;
    index.set(caption, index.size);
    return index.size - 1;
  });
  return { features: await space.captions([...index.keys()], job), of };
}

export interface Retrieval {
  /** Captions to choose from. */
  among: number;
  /** Shares of images whose own caption is the nearest, or among the five nearest. */
  top1: Estimate;
  top5: Estimate;
  /** Mean cosine of an image and its caption. */
  cosine: Estimate;
}

/** What is found of each image; summaries are made of it, and settings are compared by it. */
export interface Nearness {
  /** Of its own caption among all, from 1. */
  ranks: number[];
  cosines: number[];
}

export const nearness = (images: Features, captions: Features, of: readonly number[]): Nearness => ({
  ranks: ranks(images, captions, (image) => of[image] as number),
  cosines: of.map((caption, image) => cosine(images, image, captions, caption)),
});

/** `group` tells which images are of one prompt: see estimate(). By default each is for itself. */
export const retrieval = (
  { ranks, cosines }: Nearness,
  among: number,
  group: (image: number) => number = (image) => image,
): Retrieval => ({ among, ...summary(ranks, cosines, group) });

function summary(found: number[], cosines: number[], group: (image: number) => number) {
  return {
    top1: estimate(
      groupedBy(
        found.map((rank) => Number(rank === 1)),
        group,
      ),
    ),
    top5: estimate(
      groupedBy(
        found.map((rank) => Number(rank <= 5)),
        group,
      ),
    ),
    cosine: estimate(groupedBy(cosines, group)),
  };
}

export interface SetRetrieval extends Retrieval {
  images: number;
  /** Of the split, left over because they fill no group of `among`. */
  unused: number;
  /** The other way: the share of captions whose image is the nearest. */
  image_of_caption: Estimate;
}

/**
 * Real images against their captions: the split is dealt, by seed, into groups of `among`, and each image looks for
 * its caption in its own group. A split with fewer is one group.
 */
export async function retrieveSet(
  space: FeatureSpace,
  set: CaptionedSet,
  { among, seed }: { among: number; seed: number },
  options: EvaluationOptions,
): Promise<SetRetrieval> {
  const order = Array.from(epochOrder(seed, 0, set.length));
  const size = Math.min(among, set.length);
  const used = order.slice(0, Math.floor(set.length / size) * size);
  const { features, kept } = await embedImages(space, used.length, (i) => readSample(set, used[i] as number), options);
  if (kept.length < 2)
    throw new DrmError(
      'BAD_FILE',
      `[eval] ${set.folder}: expected at least two readable images, found ${kept.length}`,
      {
        file: set.folder,
      },
    );
  const said = await embedCaptions(
    space,
    kept.map((i) => set.caption(used[i] as number)),
    options,
  );
  const found: number[] = [];
  const back: number[] = [];
  const cosines: number[] = [];
  for (let begin = 0; begin < used.length; begin += size) {
    const members = kept.flatMap((place, row) => (place >= begin && place < begin + size ? [row] : []));
    const texts = [...new Set(members.map((row) => said.of[row] as number))];
    const images = rowsOf(features, members);
    const captions = rowsOf(said.features, texts);
    const right = members.map((row) => texts.indexOf(said.of[row] as number));
    found.push(...ranks(images, captions, (i) => right[i] as number));
    for (const text of texts.keys()) {
      // Of several images with one caption any will do.
      let own = Number.NEGATIVE_INFINITY;
      let other = Number.NEGATIVE_INFINITY;
      for (const [i, theirs] of right.entries()) {
        const nearness = cosine(captions, text, images, i);
        if (theirs === text) own = Math.max(own, nearness);
        else other = Math.max(other, nearness);
      }
      back.push(Number(own > other));
    }
    cosines.push(...members.map((_, i) => cosine(images, i, captions, right[i] as number)));
  }
  return {
    among: size,
    images: kept.length,
    unused: set.length - used.length,
    ...summary(found, cosines, (i) => i),
    image_of_caption: estimate(back.map((hit) => [hit])),
  };
}
