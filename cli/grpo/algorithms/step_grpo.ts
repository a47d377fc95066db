// Step-GRPO: from every state K candidates are drawn and scored as the noisy latents that they are; candidates of one state
// are compared (Eq. 11), and one of them goes on.
import { badSetting } from '../../config/bad_setting.js';
import type { Algorithm } from './algorithm.js';

export const stepGrpo: Algorithm = {
  label: 'Step-GRPO',
  flag: { name: 'step', description: 'candidates at every step, scored there' },
  groupFlags: ['k'],
  groupMembers: 'the candidates of a state',
  rewardMeaning: 'a mean over noise levels',

  updates: 1,
  trajectories: { setting: 'trajectories', typed: '--set trajectories=', least: 1 },
  candidates: ({ k }) => k,
  groupSize: ({ k }) => k,
  groupsOf: (trajectories) => trajectories.map((_, i) => i),

  scored: () => 'final',
  rewardedSteps: (_, trained) => trained,
  rewards: (scores) => scores,
  scoringCost: (_, { trained, k }) => ({ calls: trained, latents: trained * k }),
  rewardsText(_, { trajectories, trained, k }) {
    const states = trajectories * trained;
    return `${states} states × ${k} candidates = ${states * k}`;
  },

  checkGroups({ k }) {
    if (k < 2)
      throw badSetting(
        'grpo',
        'k',
        `expected at least 2 candidates, since Step-GRPO compares those of one state, found ${k}; give --k 6, or leave --step out`,
        { expected: '2', found: String(k) },
      );
  },
  checkSettings({ credit }) {
    if (credit === 'gain')
      throw badSetting(
        'grpo',
        'credit',
        "expected terminal with Step-GRPO, found gain, which would change nothing: candidates of one state have the same state before them, whose reward the group's mean takes away; leave it or --step out",
        { found: credit },
      );
  },
  checkScorer(_, scorer) {
    throw badSetting(
      'grpo',
      'reward',
      `expected reward models (DRMs), since Step-GRPO scores noisy latents at every step, found ${scorer}, which sees only finished images; leave it out of --reward, or leave --step out`,
      { found: scorer },
    );
  },
};
