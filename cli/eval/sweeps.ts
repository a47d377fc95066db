// The settings that `drm eval images` compares: --k, and every combination of the --sweep values.
import { DrmError } from '../../binding/error.js';
import type { Context } from '../common/command.js';
import { nearest } from '../common/nearest.js';
import { toNumber } from '../common/options.js';
import type { SampleSettings } from '../config/types.js';
import type { SampleFlags } from '../sample/flags.js';
import { sampleSettings } from '../sample/settings.js';

/** A sweep's value is one adapter, or the base alone. */
const loraOf = (value: string): string[] => (value === 'none' ? [] : [value]);

function toSwitch(value: string, flag: string): boolean {
  if (value === 'true' || value === 'false') return value === 'true';
  throw new DrmError('USAGE', `${flag}: expected true or false, found ${JSON.stringify(value)}`);
}

/** Options that may vary, and what their values say. */
const SWEPT = {
  guidance: (value: string) => ({ guidance: toNumber(value, '--guidance') }),
  steps: (value: string) => ({ steps: toNumber(value, '--steps') }),
  k: (value: string) => ({ k: toNumber(value, '--k') }),
  reward: (value: string) => ({ reward: value }),
  'noise-level': (value: string) => ({ noiseLevel: toNumber(value, '--noise-level') }),
  sde: (value: string) => ({ sde: toSwitch(value, '--sweep sde') }),
  select: (value: string) => ({ select: value }),
  'score-from': (value: string) => ({ scoreFrom: toNumber(value, '--score-from') }),
  'score-until': (value: string) => ({ scoreUntil: toNumber(value, '--score-until') }),
  lora: (value: string) => ({ lora: loraOf(value) }),
} satisfies Record<string, (value: string) => SampleFlags>;

type Swept = keyof typeof SWEPT;

export interface Setting {
  /** As in the table: 'k=6 guidance=3'; empty where nothing varies. */
  name: string;
  settings: SampleSettings;
}

/** A folder's name of a setting: 'k-6,guidance-3'. */
export const folderOf = (name: string): string =>
  name
    .replaceAll(' ', ',')
    .replaceAll('=', '-')
    .replaceAll(/[^\w.,:+*-]/g, '_');

interface Value {
  key: Swept;
  value: string;
}

function sweep(text: string): Value[] {
  const [key = '', list = ''] = text.split(/=(.*)/s);
  const values = list.split(',').map((value) => value.trim());
  const names = Object.keys(SWEPT) as Swept[];
  const swept = names.find((name) => name === key);
  if (swept && !values.includes('')) return values.map((value) => ({ key: swept, value }));
  const guess = nearest(key, names);
  throw new DrmError(
    'USAGE',
    `--sweep ${text}: expected one of ${names.join(', ')} and values, such as --sweep guidance=1,2,3${guess !== undefined && guess !== key ? `; did you mean ${guess}?` : ''}`,
  );
}

/** The reward that chooses is one. It may be said several times only to be told how several are compared. */
function oneReward(rewards: string[] | undefined): string | undefined {
  if (rewards === undefined || rewards.length === 1) return rewards?.[0];
  throw new DrmError(
    'USAGE',
    `eval images: expected one --reward, found ${rewards.length}; compare several with --sweep reward=${rewards.join(',')}`,
  );
}

/** Those of `drm eval` that make settings. */
interface SweepFlags extends Omit<SampleFlags, 'k' | 'reward'> {
  k: string | undefined;
  reward: string[] | undefined;
  sweep: string[] | undefined;
}

/** Without --k and --sweep one nameless setting. */
export function settingsOf({ options, global }: Pick<Context<SweepFlags>, 'options' | 'global'>): Setting[] {
  const { k, reward, sweep: asked = [], ...rest } = options;
  const sweeps = asked.map(sweep);
  const ks = k === undefined ? [] : sweep(`k=${k}`);
  const [only] = ks.length === 1 ? ks : [];
  const fixed = { ...rest, reward: oneReward(reward), ...(only && SWEPT.k(only.value)) };
  if (ks.length > 1) sweeps.unshift(ks);
  const combinations = sweeps.reduce<Value[][]>(
    (all, values) => all.flatMap((chosen) => values.map((value) => [...chosen, value])),
    [[]],
  );
  const found = new Map<string, Setting>();
  for (const chosen of combinations) {
    const name = chosen.map(({ key, value }) => `${key}=${value}`).join(' ');
    if (found.has(name)) continue;
    const varied = chosen.map(({ key, value }) => SWEPT[key](value));
    const flags: SampleFlags = Object.assign({}, fixed, ...varied);
    found.set(name, { name, settings: sampleSettings({ options: flags, global }, undefined) });
  }
  return [...found.values()];
}
