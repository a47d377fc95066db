// `drm pretrain`: the parts that a model from scratch is made of.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { CONFIG_FOLDER } from '../config/resolve.js';

/** The config file that a setting names: by itself, by its folder, or by a name below configs/. */
function configFile(setting: string, name: string, within: string, example: string): string {
  for (const path of [name, join(CONFIG_FOLDER, name)]) {
    if (!existsSync(path)) continue;
    const file = statSync(path).isDirectory() ? join(path, within) : path;
    if (existsSync(file)) return file;
  }
  throw new DrmError(
    'BAD_FILE',
    `[pretrain] ${setting}: expected a folder with ${within}, or one of drm's own such as ${example}, found ${existsSync(name) ? `a folder without it (${name})` : `no such folder (${name})`}; choose with --set ${setting}=DIR`,
    { key: setting, file: name },
  );
}

export const architectureFile = (name: string) => configFile('architecture', name, 'config.json', 'models/tiny/vae');
export const schedulerFile = (name: string) =>
  configFile('scheduler', name, 'scheduler_config.json', 'models/tiny/scheduler');
