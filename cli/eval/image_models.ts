// The models behind images that are measured: a pipeline with the adapters of a setting, and the reward that chooses.
import { Pipeline } from '../../binding/index.js';
import type { Dtype } from '../../binding/types.js';
import type { Context } from '../common/command.js';
import type { ResolvedModel } from '../hub/resolve.js';
import { type Lora, tellLoras, textOf, usesOf } from '../lora/loras.js';
import type { StepwiseReward } from '../sample/stepwise.js';

/** Loaded when the first image is missing; one pipeline at a time. */
export class ImageModels {
  #pipeline: Pipeline | undefined;
  /** The adapters of that pipeline. */
  #loaded = '';

  constructor(
    private readonly model: ResolvedModel,
    private readonly options: { device: string; dtype: Dtype },
    private readonly context: Pick<Context, 'events' | 'signal'>,
  ) {}

  #job(id: string, label: string) {
    const { events, signal } = this.context;
    const onProgress = (p: { step: number; total: number; seconds: number }) =>
      events.emit({ event: 'progress', id, label, unit: 'B', ...p });
    return { signal, onProgress };
  }

  async pipeline(loras: Lora[]): Promise<Pipeline> {
    const wanted = loras.map(textOf).join(' ');
    if (this.#pipeline && wanted === this.#loaded) return this.#pipeline;
    this.#pipeline?.dispose();
    const options = { ...this.options, loras: usesOf(loras) };
    this.#pipeline = await Pipeline.load(this.model.source, options, this.#job('load', 'loading'));
    this.#loaded = wanted;
    tellLoras(this.#pipeline.info.loras, this.context.events);
    return this.#pipeline;
  }

  async load(reward: StepwiseReward): Promise<void> {
    await reward.load(this.options, this.#choosing());
  }

  /** Of the reward that chooses: images chosen by other weights are made again. */
  weightsOf(reward: StepwiseReward): Promise<string> {
    return reward.weights(this.options, this.#choosing());
  }

  #choosing() {
    const onWarning = (message: string) => this.context.events.emit({ event: 'warning', message });
    return { ...this.#job('load-reward', 'loading the reward'), onWarning };
  }

  dispose(): void {
    this.#pipeline?.dispose();
  }
}
