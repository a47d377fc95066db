// A third algorithm, as far from the others as it gets: candidates of every state as in Step-GRPO, but compared with those of
// all trajectories of their prompt; one step alone has rewards that count.

import { badSetting } from '../../../cli/config/bad_setting.js';
import type { Algorithm } from '../../../cli/grpo/algorithms/algorithm.js';

export const toyGrpo: Algorithm = {
  label: 'Toy-GRPO',
  flag: { name: 'toy', description: 'candidates of all states of a prompt' },
  groupFlags: ['k', 'group'],
  groupMembers: 'the candidates of a prompt',
  rewardMeaning: 'that of candidates',

  updates: 1,
  trajectories: { setting: 'group', typed: '--group ', least: 1 },
  candidates: ({ k }) => k,
  groupSize: ({ k, group }) => k * group,
  groupsOf: (trajectories) => trajectories.map(({ group }) => group),

  scored: () => 'final',
  rewardedSteps: (_, trained) => trained,
  // The last step's rewards count; before it all are equal.
  rewards: (scores, trajectories, { k }) =>
    scores.map((score, i) => (i < scores.length - trajectories * k ? 0 : score)),
  scoringCost: (_, { trained, k }) => ({ calls: trained, latents: trained * k }),
  rewardsText: (_, { trajectories, k }) => `${trajectories * k}, of candidates at one step`,

  checkGroups({ k, group }) {
    if (k * group < 2) throw badSetting('grpo', 'k', `expected at least 2 candidates of a prompt, found ${k * group}`);
  },
  checkScorer(_, scorer) {
    throw badSetting('grpo', 'reward', `expected reward models, found ${scorer}`);
  },
};
