// Flow-GRPO: trajectories of a prompt are compared by the reward of their finished images (Eq. 3), which every step of a
// trajectory is credited with; or each step with what it gained.

import { badSetting } from '../../config/bad_setting.js';
import type { GrpoSettings } from '../../config/types.js';
import type { Algorithm } from './algorithm.js';

const gaining = ({ credit }: Pick<GrpoSettings, 'credit'>) => credit === 'gain';

/** What each step gained: rewards of (steps + 1) states, state by state, to those of steps. */
export function gains(states: Float32Array, trajectories: number): Float32Array {
  return Float32Array.from(
    { length: states.length - trajectories },
    (_, i) => (states[i + trajectories] as number) - (states[i] as number),
  );
}

export const flowGrpo: Algorithm = {
  label: 'Flow-GRPO',
  groupFlags: ['group'],
  groupMembers: 'the trajectories of a prompt',
  rewardMeaning: 'that of finished images',

  updates: 2,
  trajectories: { setting: 'group', typed: '--group ', least: 2 },
  candidates: () => 1,
  groupSize: ({ group }) => group,
  groupsOf: (trajectories) => trajectories.map(({ group }) => group),

  scored: (s) => (gaining(s) ? 'states' : 'final'),
  rewardedSteps: (s, trained) => (gaining(s) ? trained : 1),
  rewards: (scores, trajectories, s) => (gaining(s) ? gains(scores, trajectories) : scores),
  scoringCost(s, { trained }) {
    const latents = gaining(s) ? trained + 1 : 1;
    return { calls: latents, latents };
  },
  rewardsText: (s, { trajectories, trained }) =>
    gaining(s) ? `${trajectories * trained}, of what each trained step gained` : `${trajectories}, of finished images`,

  checkGroups({ group, statistics, prompts_per_iteration }) {
    if (group < 2 && statistics === 'prompt')
      throw badSetting(
        'grpo',
        'group',
        `expected at least 2 trajectories of a prompt, whose rewards are compared, found ${group}; give --group 24, or compare all of an iteration with --set statistics=batch`,
        { expected: '2', found: String(group) },
      );
    if (prompts_per_iteration * group < 2)
      throw badSetting(
        'grpo',
        'prompts_per_iteration',
        'expected at least 2 rewards to compare, found 1; give --group 24',
      );
  },
  checkScorer(s, scorer) {
    if (gaining(s))
      throw badSetting(
        'grpo',
        'credit',
        `expected terminal with ${scorer}, which sees only finished images and cannot say what a step gained, found gain; use reward models alone, or --set credit=terminal`,
        { found: 'gain' },
      );
  },
};
