// What one reward says of a set of generated images, and of the real images beside them.
import { readFileSync } from 'node:fs';
import { cmmd as distance } from '../../binding/index.js';
import type { Cmmd, Features } from '../../binding/types.js';
import { groupedBy } from '../common/grouped_by.js';
import { Drop } from '../data/io/drop.js';
import { decodeImage } from '../data/io/image.js';
import type { CaptionedSet } from '../data/prepared/captioned_set.js';
import type { Image } from '../image/write.js';
import { type FeatureSpace, type Reward, scoreImages } from '../rewards/reward.js';
import { type Estimate, estimate } from './bootstrap.js';
import { spreads } from './diversity.js';
import { KeptImages } from './kept_images.js';
import { type EvaluationOptions, embedImages, nearness, type Retrieval, readSample, retrieval } from './retrieval.js';

/** Images judged at a time by a reward without a space. */
const CHUNK = 32;

export interface Verdict {
  scorer: string;
  unit: string;
  images: number;
  score: Estimate;
  /** Only of rewards that can be searched. */
  retrieval?: Retrieval;
  /** Distance to the reference images. */
  cmmd?: Cmmd;
  /** How far images of one prompt are from each other, as 1 - cosine of features; needs several a prompt. */
  diversity?: Estimate;
}

/** A verdict and what it was made of, prompt by prompt: with it two settings can be compared on the same prompts. */
export interface Judgement {
  verdict: Verdict;
  score: number[][];
  top1?: number[][];
  diversity?: number[][];
}

/** The prompts of a run: each caption once, and which images belong to it. */
export interface Captions {
  texts: string[];
  /** Caption of image i. */
  of: number[];
}

/** One that drm wrote. */
export async function readPng(file: string): Promise<Image> {
  const image = await decodeImage(readFileSync(file));
  if (image instanceof Drop) throw new Error(`${file}: ${image.detail}`); // we wrote it a moment ago
  return image;
}

/** A reward with what it needs to know once: its view of the captions, and of the real images. */
export class Judge {
  #captions: Features | undefined;
  #real: { features: Features; of: (number | undefined)[] } | undefined;

  constructor(
    readonly reward: Reward,
    private readonly captions: Captions,
  ) {}

  async judge(files: string[], options: EvaluationOptions, kept = new KeptImages(1)): Promise<Judgement> {
    const read = (file: string) => kept.get(file, () => readPng(file));
    const { name, unit, space } = this.reward;
    const { of } = this.captions;
    const group = (i: number) => of[i] as number;
    if (!space) {
      const scores: number[] = [];
      for (let begin = 0; begin < files.length; begin += CHUNK) {
        const some = files.slice(begin, begin + CHUNK);
        const images = await Promise.all(some.map(read));
        const texts = some.map((_, i) => this.captions.texts[group(begin + i)] as string);
        scores.push(...(await scoreImages(this.reward, images, texts, options)));
        options.onImages?.(begin + some.length, files.length);
      }
      const score = groupedBy(scores, group);
      return { verdict: { scorer: name, unit, images: files.length, score: estimate(score) }, score };
    }
    const { features } = await embedImages(space, files.length, (i) => read(files[i] as string), options);
    const captions = await this.#embedCaptions(space, options);
    const near = nearness(features, captions, of);
    const found = retrieval(near, captions.rows, group);
    const diversity = spreads(features, group).map((value) => [value]);
    const verdict = {
      scorer: name,
      unit,
      images: files.length,
      score: found.cosine,
      retrieval: found,
      ...(this.#real && { cmmd: await distance(features, this.#real.features, options) }),
      ...(diversity.length > 0 && { diversity: estimate(diversity) }),
    };
    const hits = near.ranks.map((rank) => Number(rank === 1));
    return {
      verdict,
      score: groupedBy(near.cosines, group),
      top1: groupedBy(hits, group),
      ...(diversity.length > 0 && { diversity }),
    };
  }

  /**
   * The real images of these captions, or, where the set knows none of them, all its images: the reference of CMMD.
   * Gives what the reward says of them, which is what generated images can be held against.
   */
  async refer(set: CaptionedSet, samples: number[], options: EvaluationOptions): Promise<Verdict | undefined> {
    const { name, unit, space } = this.reward;
    if (!space) return undefined;
    const index = new Map(this.captions.texts.map((text, i) => [text, i]));
    const { features, kept } = await embedImages(
      space,
      samples.length,
      (i) => readSample(set, samples[i] as number),
      options,
    );
    const of = kept.map((place) => index.get(set.caption(samples[place] as number)));
    this.#real = { features, of };
    if (!of.every((caption): caption is number => caption !== undefined)) return undefined;
    const captions = await this.#embedCaptions(space, options);
    const found = retrieval(nearness(features, captions, of), captions.rows, (i) => of[i] as number);
    return { scorer: name, unit, images: kept.length, score: found.cosine, retrieval: found };
  }

  async #embedCaptions(space: FeatureSpace, options: EvaluationOptions): Promise<Features> {
    this.#captions ??= await space.captions(this.captions.texts, options);
    return this.#captions;
  }
}

export function captionsOf(prompts: readonly string[]): Captions {
  const index = new Map<string, number>();
  const of = prompts.map((prompt) => {
    if (!index.has(prompt)) index.set(prompt, index.size);
    return index.get(prompt) as number;
  });
  return { texts: [...index.keys()], of };
}

/** Samples whose captions are among these, or all samples when there are fewer than two. */
export function referenceSamples(set: CaptionedSet, texts: readonly string[]): { samples: number[]; matched: number } {
  const wanted = new Set(texts);
  const samples: number[] = [];
  for (let i = 0; i < set.length; i++) if (wanted.has(set.caption(i))) samples.push(i);
  const matched = new Set(samples.map((i) => set.caption(i))).size;
  return samples.length >= 2
    ? { samples, matched }
    : { samples: Array.from({ length: set.length }, (_, i) => i), matched: 0 };
}
