// A weighted sum of rewards: how it is written, and what it says as one reward.
import type { JobOptions } from '../../binding/types.js';
import { findReward } from './registry.js';
import { distinct, type Judged, type LatentSpace, type Reward, type Sees, type Viewing } from './reward.js';
import type { RewardSpec } from './spec.js';

export interface WeightedReward {
  weight: number;
  reward: RewardSpec;
}

const WEIGHT = String.raw`[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\*`;

/** "drm:a", or a weighted sum such as "0.7*drm:a+0.3*judge". A plus sign in a path is no sum: a weight must follow it. */
export function parseRewards(text: string): WeightedReward[] {
  if (!new RegExp(`^${WEIGHT}`, 'i').test(text)) return [{ weight: 1, reward: findReward(text) }];
  return text.split(new RegExp(`(?<!\\*)\\+(?=${WEIGHT})`, 'i')).map((part) => {
    const [, weight = '', name = ''] = /^(.*?)\*(.*)$/s.exec(part) ?? [];
    return { weight: Number(weight), reward: findReward(name) };
  });
}

/** Sees noisy latents where all its parts do. */
export class WeightedSum implements Reward {
  readonly unit = 'weighted sum';
  readonly sees: Sees;
  readonly weights: string;
  readonly latents?: LatentSpace;
  readonly bytes?: number;

  constructor(
    readonly name: string,
    private readonly parts: { weight: number; reward: Reward }[],
  ) {
    this.sees = parts.every(({ reward }) => reward.sees === 'noisy latents') ? 'noisy latents' : 'images';
    this.weights = parts.map(({ weight, reward }) => `${weight}*${reward.weights}`).join('+');
    if (parts.every(({ reward }) => reward.bytes !== undefined))
      this.bytes = parts.reduce((sum, { reward: { bytes = 0 } }) => sum + bytes, 0);
    const latents = parts.flatMap(({ reward }) => reward.latents ?? []);
    const [first] = latents;
    if (!first) return;
    const alike = distinct(latents.map(({ schedule }) => Array.from(schedule ?? []).join())).all.length === 1;
    this.latents = {
      sizes: latents.flatMap(({ sizes }) => sizes),
      ...(alike && first.schedule && { schedule: first.schedule }),
    };
  }

  definitions(viewing: Viewing): string[] {
    const parts = this.parts.map(({ weight, reward }) => ({ weight, reward, of: reward.definitions(viewing) }));
    return viewing.levels.map((_, t) =>
      parts.map(({ weight, reward, of }) => `${weight} * ${reward.name} (${of[t]})`).join(' + '),
    );
  }

  async score(judged: readonly Judged[], viewing: Viewing, job?: JobOptions): Promise<number[][]> {
    let sums = viewing.levels.map(() => judged.map(() => 0));
    for (const { weight, reward } of this.parts) {
      const scores = await reward.score(judged, viewing, job);
      sums = sums.map((row, t) => row.map((sum, i) => sum + weight * (scores[t]?.[i] as number)));
    }
    return sums;
  }

  async ready(): Promise<void> {
    for (const { reward } of this.parts) await reward.ready?.();
  }

  dispose(): void {
    for (const { reward } of this.parts) reward.dispose();
  }
}
