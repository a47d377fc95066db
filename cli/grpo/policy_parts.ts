// What a policy's training runs on, once all of it is loaded.
import type { PolicyTrainer as NativePolicyTrainer } from '../../binding/index.js';
import type { TaskContext } from '../train/run.js';
import type { Geometry } from './geometry.js';
import type { HeldOut } from './held_out.js';
import type { RewardParts } from './reward_parts.js';
import type { PromptTexts } from './texts.js';

export type PolicyTrainer = Pick<
  NativePolicyTrainer,
  'rollout' | 'step' | 'ratioError' | 'sample' | 'save' | 'restore' | 'export' | 'spread' | 'parameters'
>;

export interface PolicyParts {
  trainer: PolicyTrainer;
  geometry: Geometry;
  rewards: RewardParts;
  /** What plans name by number. */
  prompts: readonly string[];
  texts: PromptTexts;
  heldOut: HeldOut | undefined;
}

export type PolicyContext = Pick<TaskContext, 'events' | 'signal' | 'dtype' | 'team'>;
