// The settings that `drm eval images` compares: --k, and every combination of the --sweep values.
import { DrmError } from '../../binding/error.js';
import type { Context } from '../common/command.js';
import { nearest } from '../common/nearest.js';
import type { SampleSettings } from '../config/types.js';
import { sampleSettings } from '../sample/settings.js';

/** Options that may vary, and what they are called among the options. */
const SWEPT: Record<string, string> = {
  guidance: 'guidance',
  steps: 'steps',
  k: 'k',
  reward: 'reward',
  'noise-level': 'noiseLevel',
  select: 'select',
  'score-from': 'scoreFrom',
  'score-until': 'scoreUntil',
  lora: 'lora',
};

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
  key: string;
  value: string;
}

function sweep(text: string): Value[] {
  const [key = '', list = ''] = text.split(/=(.*)/s);
  const values = list.split(',').map((value) => value.trim());
  if (Object.hasOwn(SWEPT, key) && !values.includes('')) return values.map((value) => ({ key, value }));
  const names = Object.keys(SWEPT);
  const guess = nearest(key, names);
  throw new DrmError(
    'USAGE',
    `--sweep ${text}: expected one of ${names.join(', ')} and values, such as --sweep guidance=1,2,3${guess !== undefined && guess !== key ? `; did you mean ${guess}?` : ''}`,
  );
}

/** A sweep's value is one adapter, or the base alone. */
const loraOf = (value: string): string[] => (value === 'none' ? [] : [value]);

/** The reward that chooses is one; `eval pairs` takes several under the same name. */
function oneReward(rewards: string[] | undefined): string | undefined {
  if (rewards === undefined || rewards.length === 1) return rewards?.[0];
  throw new DrmError(
    'USAGE',
    `eval images: expected one --reward, found ${rewards.length}; compare several with --sweep reward=${rewards.join(',')}`,
  );
}

/** Without --k and --sweep one nameless setting. */
export function settingsOf(context: Context): Setting[] {
  const { options } = context;
  const sweeps = ((options.sweep as string[] | undefined) ?? []).map(sweep);
  const ks = options.k === undefined ? [] : sweep(`k=${options.k}`);
  const fixed = { ...options, reward: oneReward(options.reward as string[] | undefined) };
  if (ks.length === 1) Object.assign(fixed, { k: ks[0]?.value });
  else if (ks.length > 1) sweeps.unshift(ks);
  const combinations = sweeps.reduce<Value[][]>(
    (all, values) => all.flatMap((chosen) => values.map((value) => [...chosen, value])),
    [[]],
  );
  const found = new Map<string, Setting>();
  for (const chosen of combinations) {
    const name = chosen.map(({ key, value }) => `${key}=${value}`).join(' ');
    if (found.has(name)) continue;
    const varied = Object.fromEntries(
      chosen.map(({ key, value }) => [SWEPT[key] as string, key === 'lora' ? loraOf(value) : value]),
    );
    found.set(name, { name, settings: sampleSettings({ ...context, options: { ...fixed, ...varied } }, undefined) });
  }
  return [...found.values()];
}
