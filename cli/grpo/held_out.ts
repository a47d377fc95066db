// How a policy does on prompts that it was not trained on: images of fixed seeds, judged by a scorer that has no part in
// the reward.
import type { PolicyTrainer } from '../../binding/index.js';
import type { Bitmap } from '../../binding/types.js';
import type { GrpoSettings } from '../config/types.js';
import { type Reward, scoreImages } from '../rewards/reward.js';
import type { Values } from '../train/training_task.js';
import { imageFigures } from './images.js';
import { chunks } from './plan.js';
import type { RewardParts } from './reward_parts.js';
import type { PromptTexts } from './texts.js';

export interface Look {
  images: Bitmap[];
  values: Values;
  /** Of each image; empty without a judge. */
  judged: number[];
}

const mean = (values: ArrayLike<number>) => {
  const finite = Array.from(values).filter(Number.isFinite);
  return finite.reduce((sum, value) => sum + value, 0) / finite.length;
};

export class HeldOut {
  constructor(
    private readonly settings: GrpoSettings,
    readonly prompts: readonly string[],
    private readonly parts: {
      trainer: Pick<PolicyTrainer, 'sample'>;
      rewards: RewardParts;
      texts: PromptTexts;
      judge: Reward | undefined;
    },
  ) {}

  /** By the averaged adapter, without noise. `onImages` hears how far it is. */
  async look(signal: AbortSignal, onImages: (done: number, total: number) => void = () => {}): Promise<Look> {
    const { prompts, settings: s } = this;
    const { trainer, rewards, texts, judge } = this.parts;
    const images: Bitmap[] = [];
    const scores: number[] = [];
    for (const batch of chunks([...prompts.keys()], s.batch)) {
      const some = batch.map((i) => prompts[i] as string);
      const made = await trainer.sample(
        {
          ...(await texts.request(some)),
          seeds: batch,
          steps: s.evaluate_steps,
          guidance: s.evaluate_guidance || s.guidance,
          rewards: rewards.forCore(),
        },
        { signal },
      );
      scores.push(...(await rewards.total(made.scores, { images: made.images, prompts: some }, { signal })));
      images.push(...made.images);
      onImages(images.length, prompts.length);
    }
    const judged = judge ? await scoreImages(judge, images, prompts, { signal }) : [];
    return {
      images,
      judged,
      values: { reward: mean(scores), ...(judge && { judge: mean(judged) }), ...imageFigures(images) },
    };
  }

  /** A smaller look of the same kind. */
  only(prompts: readonly string[], trainer: Pick<PolicyTrainer, 'sample'>): HeldOut {
    return new HeldOut(this.settings, prompts, { ...this.parts, trainer });
  }

  dispose(): void {
    this.parts.judge?.dispose();
  }
}
