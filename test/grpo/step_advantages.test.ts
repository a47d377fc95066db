// Eq. 3 and 11, and what is told of the rewards.
import { expect, test } from 'vitest';
import { type StepAdvantagesRequest, stepAdvantages } from '../../binding/index.js';
import { rewardFigures } from '../../cli/grpo/figures.js';

/** Of rewards at one step, of trajectories alone; two to a group. */
function compared(rewards: number[], changes: Partial<StepAdvantagesRequest> = {}, firstStep = 0) {
  const result = stepAdvantages({
    ...{ rewards: Float32Array.from(rewards), steps: 1, candidates: 1 },
    ...{ groups: rewards.map((_, i) => Math.floor(i / 2)), globalDeviation: false, epsilon: 1e-4, ...changes },
  });
  return {
    advantages: [...result.advantages].map((value) => Number(value.toFixed(3))),
    figures: rewardFigures(result, firstStep),
  };
}
const together = { groups: [0, 0, 0, 0] };

test('of trajectories, within their prompt', () => {
  const { advantages, figures } = compared([1, 3, 10, 10]);
  expect(advantages).toEqual([-1, 1, 0, 0]);
  expect(figures).toMatchObject({ reward: 6, zero_variance: 0.5, reward_not_finite: 0, group_deviation: 0.5 });
  expect(figures.advantage_max).toBeCloseTo(1, 3);
  expect(Object.keys(figures).some((name) => name.includes('/'))).toBe(false);
});

test('of all together', () => expect(compared([1, 1, 3, 3], together).advantages).toEqual([-1, -1, 1, 1]));

test('by the deviation of all', () => {
  const { advantages } = compared([1, 3, 5, 15], { globalDeviation: true });
  const deviation = Math.sqrt(((1 - 6) ** 2 + (3 - 6) ** 2 + (5 - 6) ** 2 + (15 - 6) ** 2) / 4);
  expect(advantages).toEqual([-1, 1, -5, 5].map((d) => Number((d / deviation).toFixed(3))));
});

test('a reward that is no number has none, and is counted; the others are compared', () => {
  const { advantages, figures } = compared([Number.NaN, 3, 1, 2], together);
  expect(advantages).toEqual([0, 1.225, -1.225, 0]);
  expect(figures).toMatchObject({ reward: 2, reward_not_finite: 1 });
});

test('no number at all: the reward is none', () => {
  expect(compared([Number.NaN, Number.NaN]).figures.reward).toBeNaN();
});

// Two steps, two states, two candidates. Levels differ by a hundred between steps and by ten between states.
const CANDIDATES = { steps: 2, candidates: 2 };
const LEVELS = [1, 2, 12, 11, 101, 102, 112, 112];

test('of candidates, within their state and step alone', () => {
  const { advantages, figures } = compared(LEVELS, { ...CANDIDATES, groups: [0, 1] }, 3);
  expect(advantages).toEqual([-1, 1, 1, -1, -1, 1, 0, 0]);
  expect(figures).toMatchObject({
    ...{ 'reward/3': 6.5, 'reward/4': 106.75, 'group_deviation/3': 0.5, 'group_deviation/4': 0.25 },
    ...{ zero_variance: 0.25, reward: 56.625 },
  });
});

test('of candidates of several states, still within their step', () => {
  const { advantages, figures } = compared(LEVELS, { ...CANDIDATES, groups: [7, 7] });
  expect(advantages.slice(0, 4).map(Math.sign)).toEqual([-1, -1, 1, 1]);
  expect(advantages.slice(4).map(Math.sign)).toEqual([-1, -1, 1, 1]);
  expect(figures.zero_variance).toBe(0);
});

test('a step without a number is left out of the means', () => {
  const rewards = [Number.NaN, Number.NaN, 1, 3];
  const { advantages, figures } = compared(rewards, { steps: 2, candidates: 2, groups: [0] });
  expect(advantages).toEqual([0, 0, -1, 1]);
  expect(figures).toMatchObject({ reward: 2, reward_not_finite: 2, group_deviation: 1 });
});
