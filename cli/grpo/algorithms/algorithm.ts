// What tells one policy-gradient algorithm from another. All else of `drm grpo` is written once, in these terms: a new
// algorithm is a file here and a line in registry.ts.
import type { RolloutRequest } from '../../../binding/types.js';
import type { GrpoSettings } from '../../config/types.js';

/** Of an iteration, over all processes. */
export interface IterationSize {
  trajectories: number;
  /** Denoising steps that are trained. */
  trained: number;
  /** Candidates of a state. */
  k: number;
}

export interface Algorithm {
  // ---- names
  /** In plans, reports and messages. */
  label: string;
  /** The flag of `drm grpo` that chooses it, in camelCase; none where it is what runs without a flag. */
  flag?: { name: string; description: string };
  /** Flags of group sizes that it reads, the usual one first: a flag that only others read is refused. */
  groupFlags: readonly ['k' | 'group', ...('k' | 'group')[]];
  /** What a group consists of, such as "the candidates of a state". */
  groupMembers: string;
  /** What the reward of its rollouts is, such as "a mean over noise levels": rewards of two algorithms do not compare. */
  rewardMeaning: string;

  // ---- an iteration
  /** Optimizer steps an iteration, where the settings leave it open. */
  updates: number;
  /** Where the trajectories of a prompt are set, as it is typed, and the fewest that are of use. */
  trajectories: { setting: 'trajectories' | 'group'; typed: string; least: number };
  /** Candidates of each state that are rolled out; 1 where a state has one successor. The settings may be unchecked. */
  candidates(s: Pick<GrpoSettings, 'k'>): number;
  /** Rewards that are compared with each other, unless all of an iteration are. */
  groupSize(s: GrpoSettings): number;
  /**
   * Of each trajectory a number: states of trajectories with equal numbers are compared, within one denoising step. Each
   * trajectory comes with that of its prompt.
   */
  groupsOf(trajectories: readonly { group: number }[]): number[];

  // ---- rewards
  /** Which latents the core scores where a state has one successor; candidates are scored at their own noise level. */
  scored(s: GrpoSettings): RolloutRequest['score'];
  /** Denoising steps that have rewards of their own; 1 where one reward is for all of them. */
  rewardedSteps(s: GrpoSettings, trained: number): number;
  /** From the scores of one rollout to the rewards of its actions: rewardedSteps x trajectories x candidates. */
  rewards(scores: Float32Array, trajectories: number, s: GrpoSettings): Float32Array;
  /** What scoring takes of a reward model: calls a rollout call, and latents a trajectory. */
  scoringCost(s: GrpoSettings, size: IterationSize): { calls: number; latents: number };
  /** For the plan: how many rewards, and of what. */
  rewardsText(s: GrpoSettings, size: IterationSize): string;

  // ---- checks; each throws DrmError BAD_CONFIG
  /** For groups in which there is nothing to compare. */
  checkGroups(s: GrpoSettings): void;
  /** For settings that mean nothing to it. */
  checkSettings?(s: GrpoSettings): void;
  /** For a scorer in the reward, by its name, that sees only finished images. */
  checkScorer(s: GrpoSettings, scorer: string): void;
}
