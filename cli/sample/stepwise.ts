// Step-wise sampling from the command line: which reward chooses, and what the pipeline is told.
import { DrmError } from '../../binding/error.js';
import { RewardModel } from '../../binding/index.js';
import type { JobOptions, LoadOptions, PipelineInfo, StepwiseRequest } from '../../binding/types.js';
import type { SampleSettings } from '../config/types.js';
import { weightsFingerprint } from '../hub/fingerprint.js';
import { findReward } from '../rewards/registry.js';
import type { Reward } from '../rewards/reward.js';
import type { DrmSpec, ImageSpec, RewardSpec } from '../rewards/spec.js';
import type { PromptTokenizer } from '../text/tokenizer.js';
import { type Job, tokenize } from './jobs.js';

/** argmax is temperature 0. The schema has checked the form. */
function temperature(rule: string): number {
  if (rule === 'argmax') return 0;
  const t = Number(rule.slice('softmax:'.length));
  if (!(t > 0 && Number.isFinite(t)))
    throw new DrmError('USAGE', `--select ${rule}: expected a temperature above 0, such as softmax:0.5, or argmax`);
  return t;
}

/** What flags can combine wrongly, before anything is loaded. */
function check(settings: SampleSettings): void {
  if (settings.reward === '')
    throw new DrmError(
      'USAGE',
      `--k ${settings.k}: expected a reward that chooses among the candidates, and ${settings.model} recommends none; add --reward NAME, such as --reward tiny or the folder of a \`drm train\` run`,
    );
  if (!(settings.noise_level > 0))
    throw new DrmError(
      'USAGE',
      `--noise-level ${settings.noise_level}: expected a number above 0, since without noise all candidates are the same; for plain sampling leave --k out`,
    );
  if (settings.sde)
    throw new DrmError(
      'USAGE',
      `--sde --k ${settings.k}: expected --sde with one candidate, since several have its noise anyway; leave one of the two out`,
    );
  if (settings.score_from > settings.score_until)
    throw new DrmError(
      'USAGE',
      `--score-from ${settings.score_from} --score-until ${settings.score_until}: expected fractions in this order, such as 0.2 and 0.8`,
    );
}

/** What chooses, loaded. */
interface Chooser {
  /** Its part of the request for these jobs. */
  choice(settings: SampleSettings, jobs: Job[], tokenizer: PromptTokenizer, pipeline: PipelineInfo): Promise<Choice>;
  dispose(): void;
}
type Choice = Pick<StepwiseRequest, 'reward' | 'prompts' | 'guide'>;

/** What a chooser is loaded with. */
export interface ChooserLoading extends JobOptions {
  onWarning?: (message: string) => void;
}

/** A reward model: the policy's VAE and text encoders serve both. */
async function latentChooser(spec: DrmSpec, options: LoadOptions, job: JobOptions): Promise<Chooser> {
  const model = await RewardModel.load({ checkpoint: spec.checkpoint }, options, job);
  return {
    choice: async (settings, jobs, tokenizer, pipeline) => {
      // What it does not see of a long prompt was said for the policy, which usually reads less.
      const otherLength = pipeline.hasT5 && model.info.t5Length !== settings.t5_length;
      const texts = otherLength ? await tokenize(jobs, tokenizer, model.info.t5Length, () => {}) : undefined;
      return { reward: model.handle(), ...(texts && { prompts: texts.prompts }) };
    },
    dispose: () => model.dispose(),
  };
}

/** A scorer of finished images, which sees what candidates would become. */
async function imageChooser(reward: Reward): Promise<Chooser> {
  const guide = reward.guide?.bind(reward);
  if (!guide)
    throw new DrmError(
      'USAGE',
      `--reward ${reward.name}: expected a reward that the core can ask while it samples, found one that scores finished images outside of it; name a reward model, or a scorer such as judge`,
    );
  await reward.ready?.();
  return {
    choice: async (_, jobs) => ({ guide: await guide(jobs.map(({ prompt }) => prompt)) }),
    dispose: () => reward.dispose(),
  };
}

export class StepwiseReward {
  #chooser: Chooser | undefined;
  #image: Reward | undefined;

  private constructor(
    private readonly spec: RewardSpec,
    private readonly temperature: number,
  ) {}

  /** Undefined for k = 1. Throws DrmError USAGE, MISSING_WEIGHTS or BAD_FILE for what cannot choose. */
  static find(settings: SampleSettings): StepwiseReward | undefined {
    if (settings.k === 1) return undefined;
    check(settings);
    const spec = findReward(settings.reward);
    if (spec.sees === 'images' && spec.measuresAlone !== undefined)
      throw new DrmError(
        'USAGE',
        `--reward ${settings.reward}: expected a reward that may guide, found ${spec.measuresAlone}, which measures and never guides, since what it had chosen it could no longer measure; choose by another, such as tiny or judge, and measure with \`drm eval images --scorer ${spec.name}\``,
      );
    return new StepwiseReward(spec, temperature(settings.select));
  }

  /** The base that the reward model names, where it does. */
  get base(): string | undefined {
    return this.spec.sees === 'images' ? undefined : this.spec.base;
  }

  /** Tells the weights that choose from others under the same name. Scorers' files are looked for, and a CLIP is loaded. */
  async weights(options: LoadOptions, loading: ChooserLoading = {}): Promise<string> {
    if (this.spec.sees === 'images') return (await this.#found(this.spec, options, loading)).weights;
    return weightsFingerprint({ reward: this.spec.checkpoint });
  }

  async load(options: LoadOptions, loading: ChooserLoading = {}): Promise<void> {
    if (this.#chooser) return;
    const { spec } = this;
    this.#chooser =
      spec.sees === 'images'
        ? await imageChooser(await this.#found(spec, options, loading))
        : await latentChooser(spec, options, loading);
  }

  /** A scorer runs in its own precision, whatever the policy's is. */
  async #found(spec: ImageSpec, { device }: LoadOptions, loading: ChooserLoading): Promise<Reward> {
    this.#image ??= await spec.load({ ...loading, device, later: true });
    return this.#image;
  }

  /** For jobs whose prompts were tokenized for the policy in this order. */
  async request(
    settings: SampleSettings,
    jobs: Job[],
    tokenizer: PromptTokenizer,
    pipeline: PipelineInfo,
    trace: boolean,
  ): Promise<StepwiseRequest> {
    if (!this.#chooser) throw new DrmError('INTERNAL', '[sample] the reward is not loaded');
    return {
      ...(await this.#chooser.choice(settings, jobs, tokenizer, pipeline)),
      k: settings.k,
      noiseLevel: settings.noise_level,
      temperature: this.temperature,
      scoreFrom: settings.score_from,
      scoreUntil: settings.score_until,
      trace,
    };
  }

  dispose(): void {
    (this.#chooser ?? this.#image)?.dispose();
    this.#chooser = undefined;
    this.#image = undefined;
  }
}
