// A reward that its name led to: what is known of it before it is loaded, and how it is loaded.
import type { ComponentFiles, Dtype, JobOptions } from '../../binding/types.js';
import type { Distance, Reward } from './reward.js';

export interface RewardLoading {
  device: string;
  /** Of a reward model; a reward of finished images runs in fp32, or as its name says (pickscore@fp16). */
  dtype?: Dtype | undefined;
  /** A scorer's weights may wait for the first score; its files are found at once. */
  later?: boolean;
  /** The base model, instead of the one that the reward model names. */
  model?: string | undefined;
  signal?: AbortSignal;
  onWarning?: (message: string) => void;
  onProgress?: JobOptions['onProgress'];
}

interface Loadable {
  /** As the user called it. */
  name: string;
  /** Throws DrmError MISSING_WEIGHTS or BAD_FILE for what is not whole, and what the core throws. */
  load(loading: RewardLoading): Promise<Reward>;
}

/** A diffusion reward model. Sampling and training run it on the policy's own latents, by its files, without its base. */
export interface DrmSpec extends Loadable {
  sees: 'noisy latents';
  checkpoint: ComponentFiles;
  /** The model it was trained on, which supplies VAE and text encoders; the authors' single file does not say. */
  base?: string;
}

export interface ImageSpec extends Loadable {
  sees: 'images';
  /** What it is, of one that measures and never guides: what it had chosen, it could no longer measure. */
  measuresAlone?: string;
}

export type RewardSpec = DrmSpec | ImageSpec;

/** A distance of images. */
export interface DistanceSpec {
  /** As the user called it. */
  name: string;
  /** Throws like a reward's. */
  load(loading: RewardLoading): Promise<Distance>;
}
