// The reward of a policy, in its parts: reward models, which score latents in the core, and scorers, which see images.
import { DrmError } from '../../binding/error.js';
import type { RewardModel } from '../../binding/index.js';
import type { Bitmap, Dtype, JobOptions, RolloutRequest } from '../../binding/types.js';
import type { GrpoSettings } from '../config/types.js';
import type { ResolvedModel } from '../hub/resolve.js';
import { baseFits, otherVae } from '../rewards/base_fit.js';
import { describeReward, type RewardDescription } from '../rewards/describe.js';
import { type Reward, scoreImages } from '../rewards/reward.js';
import type { DrmSpec } from '../rewards/spec.js';
import { parseRewards, type WeightedReward } from '../rewards/weighted_sum.js';
import { algorithmOf } from './algorithms/registry.js';

export interface LatentPart {
  name: string;
  weight: number;
  spec: DrmSpec;
  description: RewardDescription | undefined;
}

/** What a reward consists of, before anything is loaded. */
export interface FoundReward {
  latent: LatentPart[];
  images: WeightedReward[];
}

/** Throws DrmError USAGE, BAD_CONFIG, BAD_FILE or MISSING_WEIGHTS for what cannot be this run's reward. */
export async function findRewardParts(
  s: GrpoSettings,
  base: ResolvedModel,
  warn: (message: string) => void,
): Promise<FoundReward> {
  if (s.reward === '')
    throw new DrmError(
      'USAGE',
      `grpo: expected a reward, and ${s.model} recommends none; give --reward NAME, such as --reward tiny, the folder of a \`drm train\` run, or a weighted sum 0.7*drm:A+0.3*judge`,
    );
  const latent: LatentPart[] = [];
  const images: WeightedReward[] = [];
  for (const part of parseRewards(s.reward)) {
    const { weight, reward: spec } = part;
    if (spec.sees === 'images') {
      images.push(part);
      continue;
    }
    const description = describeReward(spec.checkpoint);
    const found = { name: spec.name, checkpoint: spec.checkpoint, description };
    if (base.source.transformer.config !== undefined) baseFits(found, s.model, base.source);
    const other = await otherVae(found, s.model, base.source.vae);
    if (other !== undefined) warn(other);
    latent.push({ name: spec.name, weight, spec, description });
  }
  const [scorer] = images;
  if (scorer) algorithmOf(s).checkScorer(s, scorer.reward.name);
  if (latent.length + images.length > 0 && [...latent, ...images].every(({ weight }) => weight === 0))
    throw new DrmError('BAD_CONFIG', `[grpo] reward: expected a weight other than 0 in ${s.reward}, found none`, {
      key: 'reward',
    });
  return { latent, images };
}

/** A weighted sum of scores, rounded once. */
export function weightedSum(parts: readonly { weight: number; scores: ArrayLike<number> }[]): Float32Array {
  return Float32Array.from({ length: parts[0]?.scores.length ?? 0 }, (_, i) =>
    parts.reduce((sum, { weight, scores }) => sum + weight * (scores[i] as number), 0),
  );
}

/** Loaded. */
export class RewardParts {
  private constructor(
    private readonly latent: { weight: number; model: Pick<RewardModel, 'handle' | 'info' | 'dispose'> }[],
    private readonly images: { weight: number; reward: Reward }[],
  ) {}

  static of(parts: {
    latent?: { weight: number; model: Pick<RewardModel, 'handle' | 'info' | 'dispose'> }[];
    images?: { weight: number; reward: Reward }[];
  }): RewardParts {
    return new RewardParts(parts.latent ?? [], parts.images ?? []);
  }

  /** Reward models without their base: the policy's VAE and text encoders serve both. Scorers run in fp32. */
  static async load(found: FoundReward, { device, dtype, signal, onWarning }: LoadingOptions): Promise<RewardParts> {
    const { RewardModel } = await import('../../binding/index.js');
    const parts = new RewardParts([], []);
    try {
      for (const { weight, spec } of found.latent)
        parts.latent.push({
          weight,
          model: await RewardModel.load({ checkpoint: spec.checkpoint }, { device, dtype }, { signal }),
        });
      for (const { weight, reward } of found.images)
        parts.images.push({ weight, reward: await reward.load({ device, dtype: 'fp32', signal, onWarning }) });
      const lengths = new Set(parts.latent.map(({ model }) => model.info.t5Length));
      if (lengths.size > 1)
        throw new DrmError(
          'BAD_CONFIG',
          `[grpo] reward: expected reward models that read equally many tokens of T5, found ${[...lengths].join(' and ')}; leave one out`,
          { key: 'reward' },
        );
      return parts;
    } catch (error) {
      parts.dispose();
      throw error;
    }
  }

  /** Tokens of T5 that the reward models read; undefined without one. */
  get t5Length(): number | undefined {
    return this.latent[0]?.model.info.t5Length;
  }

  get seesImages(): boolean {
    return this.images.length > 0;
  }

  /** For the core. */
  forCore(): RolloutRequest['rewards'] {
    return this.latent.map(({ weight, model }) => ({ reward: model.handle(), weight }));
  }

  /** Of the core's scores of latents, alone or with those of their images. */
  async total(
    scores: readonly Float32Array[],
    { images, prompts }: { images: readonly Bitmap[]; prompts: readonly string[] },
    job: JobOptions,
  ): Promise<Float32Array> {
    const parts: { weight: number; scores: ArrayLike<number> }[] = this.latent.map(({ weight }, i) => ({
      weight,
      scores: scores[i] as Float32Array,
    }));
    for (const { weight, reward } of this.images)
      parts.push({ weight, scores: await scoreImages(reward, images, prompts, job) });
    return weightedSum(parts);
  }

  dispose(): void {
    for (const { model } of this.latent) model.dispose();
    for (const { reward } of this.images) reward.dispose();
  }
}

export interface LoadingOptions {
  device: string;
  dtype: Dtype;
  signal: AbortSignal;
  onWarning: (message: string) => void;
}
