// What the figures of runs are called on the page, what they mean, and in which order they are looked at.
import { own } from '../common/shape.js';
import { label } from '../ui/figures.js';

interface Measure {
  title: string;
  about: string;
  level?: { value: number; text: string };
}

const MEASURES: Record<string, Measure> = {
  loss: { title: 'Loss', about: 'what the optimizer lowers' },
  policy_loss: { title: 'Policy loss', about: 'the clipped objective alone' },
  accuracy: {
    title: 'Accuracy',
    about: 'pairs whose chosen image scores higher',
    level: { value: 0.5, text: 'chance' },
  },
  margin: { title: 'Margin', about: 'score of the chosen image less that of the rejected one' },
  psnr: { title: 'PSNR', about: 'of images taken through the VAE, in dB' },
  reward: { title: 'Reward', about: 'mean over the rollouts' },
  judge: { title: 'Judge', about: 'mean score by a scorer that had no part in training, on held-out prompts' },
  kl: { title: 'KL', about: 'distance from the policy without its adapter' },
  approx_kl: { title: 'Approximate KL', about: 'distance from the policy that made the rollouts' },
  ratio: { title: 'Ratio', about: 'of new to old probability, mean', level: { value: 1, text: 'on policy' } },
  ratio_deviation: { title: 'Ratio deviation', about: 'how far ratios lie from 1' },
  clip_fraction: { title: 'Clip fraction', about: 'ratios outside the clip range' },
  clip_fraction_high: { title: 'Clipped above', about: 'ratios above the clip range' },
  clip_fraction_low: { title: 'Clipped below', about: 'ratios below the clip range' },
  group_deviation: { title: 'Advantage spread', about: "mean of the groups' deviations of the reward" },
  reward_deviation: { title: 'Reward deviation', about: 'over all of an iteration' },
  advantage_max: { title: 'Largest advantage', about: 'before clipping' },
  zero_variance: {
    title: 'Zero-variance groups',
    about: 'share of groups whose rewards are all equal: nothing to learn from',
  },
  reward_not_finite: { title: 'Rewards not finite', about: 'left out of their groups' },
  grad_norm: { title: 'Gradient norm', about: 'before clipping' },
  learning_rate: { title: 'Learning rate', about: 'as scheduled' },
  skipped: { title: 'Steps skipped', about: 'since loss or gradient was not finite' },
  loss_scale: { title: 'Loss scale', about: 'of fp16: halved when gradients overflow, doubled after 2000 good steps' },
  overflows: { title: 'Overflows', about: 'steps skipped, since gradients were not finite at that loss scale' },
  saturation: {
    title: 'Saturation',
    about: "of the evaluation's images; a climb is a common way to please a reward",
  },
  high_frequency: {
    title: 'High-frequency energy',
    about: "of the evaluation's images; a climb is noise or texture",
  },
  samples_per_second: { title: 'Samples a second', about: 'while training' },
  pairs_per_second: { title: 'Pairs a second', about: 'while training' },
  data_wait: { title: 'Waiting for data', about: 'share of the time' },
  memory_mb: { title: 'Memory (MB)', about: 'of the device, or of the process on a CPU' },
  rollout_seconds: { title: 'Rollout', about: 'seconds an iteration' },
  reward_seconds: { title: 'Scoring', about: 'seconds an iteration' },
  update_seconds: { title: 'Update', about: 'seconds an iteration' },
};

export const titleOf = (name: string): string => {
  const words = label(name);
  return own(MEASURES, name)?.title ?? `${words.slice(0, 1).toUpperCase()}${words.slice(1)}`;
};

export const aboutOf = (name: string): string | undefined => own(MEASURES, name)?.about;
export const levelOf = (name: string): Measure['level'] => own(MEASURES, name)?.level;

/** Figures of the work, not of what is learnt. */
export const isCost = (name: string): boolean =>
  /_(per_second|seconds)$/.test(name) || ['data_wait', 'memory_mb'].includes(name);

/** The horizontal axis itself. */
export const NOT_DRAWN = ['updates'];

const ORDER = [
  'reward',
  'judge',
  'loss',
  'accuracy',
  'margin',
  'group_deviation',
  'zero_variance',
  'kl',
  'approx_kl',
  'ratio',
  'ratio_deviation',
  'clip_fraction',
  'clip_fraction_high',
  'clip_fraction_low',
  'advantage_max',
  'reward_deviation',
  'policy_loss',
];
const LAST = ['grad_norm', 'learning_rate', 'skipped', 'loss_scale', 'overflows', 'reward_not_finite'];

/** Known figures in the order they are looked at, then what else a task measures, then the optimizer's. */
export function inOrder(names: readonly string[]): string[] {
  const rank = (name: string) => {
    const known = ORDER.indexOf(name);
    return known >= 0 ? known : LAST.includes(name) ? 200 + LAST.indexOf(name) : 100;
  };
  return [...names].sort((a, b) => rank(a) - rank(b));
}
