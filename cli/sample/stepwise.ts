// Step-wise sampling from the command line: which reward model chooses, and what the pipeline is told.
import { DrmError } from '../../binding/error.js';
import { RewardModel } from '../../binding/index.js';
import type { JobOptions, LoadOptions, PipelineInfo, StepwiseRequest } from '../../binding/types.js';
import type { SampleSettings } from '../config/types.js';
import { findReward } from '../rewards/registry.js';
import type { DrmSpec } from '../rewards/spec.js';
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

export class StepwiseReward {
  #model: RewardModel | undefined;

  private constructor(
    private readonly spec: DrmSpec,
    private readonly temperature: number,
  ) {}

  /** Undefined for k = 1. Throws DrmError USAGE, MISSING_WEIGHTS or BAD_FILE for what cannot choose. */
  static find(settings: SampleSettings): StepwiseReward | undefined {
    if (settings.k === 1) return undefined;
    check(settings);
    const spec = findReward(settings.reward);
    if (spec.sees !== 'noisy latents')
      throw new DrmError(
        'USAGE',
        `--reward ${settings.reward}: expected a reward model (DRM), which scores noisy latents at every step, found a scorer of finished images`,
      );
    return new StepwiseReward(spec, temperature(settings.select));
  }

  /** The base that the reward model names, where it does. */
  get base(): string | undefined {
    return this.spec.base;
  }

  async load(options: LoadOptions, job: JobOptions = {}): Promise<void> {
    // The policy's VAE and text encoders serve both.
    this.#model ??= await RewardModel.load({ checkpoint: this.spec.checkpoint }, options, job);
  }

  /** For jobs whose prompts were tokenized for the policy in this order. */
  async request(
    settings: SampleSettings,
    jobs: Job[],
    tokenizer: PromptTokenizer,
    pipeline: PipelineInfo,
    trace: boolean,
  ): Promise<StepwiseRequest> {
    const model = this.#model;
    if (!model) throw new DrmError('INTERNAL', '[sample] the reward model is not loaded');
    // What it does not see of a long prompt was said for the policy, which usually reads less.
    const otherLength = pipeline.hasT5 && model.info.t5Length !== settings.t5_length;
    const texts = otherLength ? await tokenize(jobs, tokenizer, model.info.t5Length, () => {}) : undefined;
    return {
      reward: model.handle(),
      ...(texts && { prompts: texts.prompts }),
      k: settings.k,
      noiseLevel: settings.noise_level,
      temperature: this.temperature,
      scoreFrom: settings.score_from,
      scoreUntil: settings.score_until,
      trace,
    };
  }

  dispose(): void {
    this.#model?.dispose();
    this.#model = undefined;
  }
}
