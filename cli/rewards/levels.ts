// Noise levels as they are asked for, and what they are for a reward. One number has two readings: 1000 times the noise
// level, or an entry of the scheduler's training table, whose shift makes it a higher level.
import { DrmError } from '../../binding/error.js';

/** `sigma`: the timestep itself, 1000 times the noise level. `schedule`: entries of the scheduler's table from its end. */
export type Reading = 'sigma' | 'schedule';

export interface AskedLevels {
  reading: Reading;
  /** Ascending, each once. */
  values: readonly number[];
}

export interface Level {
  /** 0 to 1000: what the network is conditioned on. */
  timestep: number;
  /** Noise level: timestep / 1000. */
  sigma: number;
  /** Of the scheduler's table, from its end, where the level was asked for so. */
  entry?: number;
}

/** A finished image. */
export const CLEAN_LEVEL: Level = { timestep: 0, sigma: 0 };

/** Entries of the table that SD3's schedulers are trained with; a timestep is 1000 times a noise level there alone. */
const ENTRIES = 1000;

const tidy = (value: number, digits: number): string => String(Number(value.toFixed(digits)));
export const timestepText = ({ timestep }: Level): string => tidy(timestep, 1);
export const sigmaText = ({ sigma }: Level): string => `σ ${tidy(sigma, 3)}`;

/** "timestep 750 (σ 0.75, entry 500 of the schedule)" */
export const levelText = (level: Level): string =>
  `timestep ${timestepText(level)} (${sigmaText(level)}${level.entry ? `, entry ${level.entry} of the schedule` : ''})`;

/**
 * "0,250,500", "schedule:0,500,750" or "sigma:500" after `flag`; `usual` is the reading of a list that names none. Throws
 * DrmError USAGE.
 */
export function parseLevels(flag: string, text: string, usual: Reading = 'sigma'): AskedLevels {
  const [, named, list = ''] = /^(?:([a-z]+):)?(.*)$/s.exec(text) ?? [];
  const reading = (named ?? usual) as Reading;
  const values = list.split(',').map((value) => (value.trim() === '' ? Number.NaN : Number(value)));
  const known = reading === 'sigma' || reading === 'schedule';
  const inRange = values.every((value) => value >= 0 && value <= ENTRIES);
  if (!known || !inRange || (reading === 'schedule' && !values.every(Number.isInteger)))
    throw new DrmError(
      'USAGE',
      `${flag} ${text}: expected numbers from 0 to 1000 (1000 times the noise level), such as 0,250,500,750, or whole numbers of the scheduler's table, such as schedule:0,500,750`,
    );
  return { reading, values: [...new Set(values)].sort((a, b) => a - b) };
}

/**
 * What was asked for, at a reward whose base has this training table (timesteps, noisiest first; undefined where there is
 * none). Throws DrmError BAD_CONFIG where the table is another than SD3's schedulers have.
 */
export function levelsOf(
  { reading, values }: AskedLevels,
  schedule: ArrayLike<number> | undefined,
  name: string,
): Level[] {
  return values.map((value): Level => {
    if (reading === 'sigma') return { timestep: value, sigma: value / 1000 };
    if (value === 0) return { ...CLEAN_LEVEL, entry: 0 };
    if (schedule?.length !== ENTRIES)
      throw new DrmError(
        'BAD_CONFIG',
        `--timesteps schedule:${value}: expected one scheduler of ${ENTRIES} training timesteps, found ${schedule ? schedule.length : 'none'} for ${name}; give timesteps as 1000 times the noise level instead`,
      );
    const timestep = schedule[ENTRIES - value] as number;
    return { timestep, sigma: Number((timestep / 1000).toPrecision(7)), entry: value };
  });
}
