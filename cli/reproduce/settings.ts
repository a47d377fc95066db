// From `--config reproduce/tiny [--quick]` to settings. What is quick is a config of its own beside it, tiny-quick.json, which
// extends it with smaller sizes.
import { existsSync } from 'node:fs';
import { join, parse } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { GlobalOptions } from '../common/command.js';
import { own } from '../common/shape.js';
import { CONFIG_FOLDER, resolveConfig } from '../config/resolve.js';
import type { ReproduceSettings, Settings, Task } from '../config/types.js';
import { recommendedSettingsFile } from '../hub/resolve.js';

export const DEFAULT_CONFIG = 'reproduce/tiny';

export interface Asked {
  /** As results are named by it: 'reproduce/tiny-quick'. */
  config: string;
  settings: ReproduceSettings;
}

/** The name of the config beside this one that is quick. */
const quickOf = (config: string): string =>
  config.endsWith('.json') ? config.replace(/\.json$/, '-quick.json') : `${config}-quick`;

const isThere = (config: string): boolean =>
  [config, join(CONFIG_FOLDER, config), join(CONFIG_FOLDER, `${config}.json`)].some((file) => existsSync(file));

/** Throws DrmError USAGE, BAD_CONFIG, BAD_FILE. */
export function askedSettings(
  { config = DEFAULT_CONFIG, set }: Pick<GlobalOptions, 'config' | 'set'>,
  quick: boolean,
): Asked {
  const file = quick ? quickOf(config) : config;
  if (quick && isThere(config) && !isThere(file))
    throw new DrmError(
      'USAGE',
      `--quick: expected ${file} beside ${config}, a config that extends it with smaller sizes, found none; write one, or leave --quick out`,
    );
  const { values } = resolveConfig('reproduce', { file, set });
  const name = values.train_data;
  if (Object.keys(values.trainings).length > 0 && !own(values.data, name))
    throw new DrmError(
      'BAD_CONFIG',
      `[reproduce] train_data in ${file}: expected one of data (${Object.keys(values.data).join(', ') || 'none'}), found ${JSON.stringify(name)}`,
      { key: 'train_data', file },
    );
  for (const key of ['data', 'trainings', 'policies'] as const)
    for (const one of Object.keys(values[key]))
      if (!/^[\w.-]+$/.test(one))
        throw new DrmError(
          'BAD_CONFIG',
          `[reproduce] ${key} in ${file}: expected names of letters, digits, dots and dashes, found ${JSON.stringify(one)}`,
          { key, file },
        );
  return { config: file, settings: values };
}

/** Where its results go, if nobody says. */
export const defaultOut = (config: string): string => join('out', 'reproduce', parse(config).name);

interface Recipe {
  config: string;
  set: readonly string[];
}

/** The words that give a command its settings. */
export const recipeWords = ({ config, set }: Recipe, shared: readonly string[]): string[] => [
  ...(config === '' ? [] : ['--config', config]),
  ...[...shared, ...set].flatMap((one) => ['--set', one]),
];

/** What a command's settings come to for the chain's model. Throws DrmError for what are none. */
const settingsOf = <T extends Task>(task: T, model: string, config: string, set: readonly string[]): Settings[T] =>
  resolveConfig(task, {
    ...(config !== '' && { file: config }),
    ...{ set: [...set], flags: { model }, recommended: recommendedSettingsFile },
  }).values;

export const trainSettings = ({ model, train_set: shared }: ReproduceSettings, { config, set }: Recipe) =>
  settingsOf('train', model, config, [...shared, ...set]);

export const policySettings = ({ model, policy_set: shared }: ReproduceSettings, { config, set }: Recipe) =>
  settingsOf('grpo', model, config, [...shared, ...set]);

/** Of the images of Tables 3 and 4. */
export const sampleSettingsOf = ({ model, sample_config: config, sample_set: set }: ReproduceSettings) =>
  settingsOf('sample', model, config, set);
