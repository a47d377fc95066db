// How rewards are to look at images, by the options of `drm score` and `drm eval pairs`: noise levels, draws, size.
import { DrmError } from '../../binding/error.js';
import { type AskedLevels, levelsOf, parseLevels } from '../rewards/levels.js';
import type { Reward, Viewing } from '../rewards/reward.js';

/** Ways of looking that have a name. Unlike a protocol of counting it decides how scores come about. */
export type ViewingProtocol = 'drm-authors';

export const VIEWING_PROTOCOLS: Record<ViewingProtocol, string> = {
  'drm-authors':
    "as the authors' script scores: timestep n is entry n, from the end, of the base scheduler's 1000 training timesteps, 1000 S s / (1 + (S - 1) s) for s = n / 1000 and shift S; no noise is added; the latent is drawn from the VAE's posterior",
};

export const isViewingProtocol = (name: string): name is ViewingProtocol => Object.hasOwn(VIEWING_PROTOCOLS, name);

export interface AskedViewing extends Omit<Viewing, 'levels'> {
  levels: AskedLevels;
  protocol?: ViewingProtocol;
}

/** Options that say how to look at images. */
export interface ViewingFlags {
  draws: number | undefined;
  seed: number | undefined;
  size: number | undefined;
  posteriorSample: boolean;
}

/** `timesteps` are the noise levels as they were given with `flag`. Throws DrmError USAGE. */
export function askedViewing(
  { draws = 1, seed = 0, size, posteriorSample }: ViewingFlags,
  flag: '--timesteps' | '--timestep',
  timesteps = '0',
  protocol?: ViewingProtocol,
): AskedViewing {
  const authors = protocol === 'drm-authors';
  const levels = parseLevels(flag, timesteps, authors ? 'schedule' : 'sigma');
  if (authors && levels.reading !== 'schedule')
    throw new DrmError(
      'USAGE',
      `--protocol drm-authors ${flag} ${timesteps}: expected entries of the scheduler's table, as the authors' script takes them, such as ${flag} 0,500,750; leave "sigma:" or the protocol out`,
    );
  return {
    levels,
    ...(protocol && { protocol }),
    addNoise: !authors,
    draws,
    seed,
    posteriorSample: authors || posteriorSample,
    ...(size !== undefined && { size }),
  };
}

/** For one reward: its own scheduler's levels, and its own size where it has one. What sees clean images only gets level 0. */
export function viewingFor(reward: Reward, { levels, protocol, size, ...asked }: AskedViewing): Viewing {
  const possible = reward.sees === 'noisy latents' ? levels.values : levels.values.filter((value) => value === 0);
  return {
    ...asked,
    levels: levelsOf({ ...levels, values: possible }, reward.latents?.schedule, reward.name),
    ...(size !== undefined && reward.latents?.sizes.some((own) => own !== size) && { size }),
  };
}

/** A sentence where reward models see images larger than a set holds them: enlarged, they are not what people saw. */
export function enlargedNote(folder: string, held: unknown, rewards: readonly Reward[], size: number | undefined) {
  const own = rewards.flatMap(({ latents }) => latents?.sizes ?? []);
  const seen = Math.max(0, ...(size === undefined ? own : own.map(() => size)));
  return typeof held === 'number' && held < seen
    ? `${folder} was prepared with images of at most ${held} pixels a side, and they are scored at ${seen}: enlarged; prepare it with --size ${seen}, or score with --size ${held}`
    : undefined;
}

/**
 * A size is for reward models: throws DrmError USAGE where there is none; gives a sentence for each reward that sees
 * images at its own size all the same.
 */
export function sizeNotes(rewards: readonly Reward[], size: number | undefined): string[] {
  if (size === undefined) return [];
  const fixed = rewards.filter(({ latents }) => !latents);
  if (fixed.length === rewards.length)
    throw new DrmError(
      'USAGE',
      `--size ${size}: expected a reward model, which can see images at several sizes; ${fixed.map(({ name }) => name).join(', ')} see${fixed.length === 1 ? 's' : ''} them at one size; leave --size out`,
    );
  return fixed.map(({ name }) => `${name} sees images at its own size; --size is for reward models`);
}
