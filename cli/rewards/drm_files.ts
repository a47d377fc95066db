// Where a reward model is: the folder of one or of the run that trained it, the authors' single file, a hub id.
import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { ComponentFiles } from '../../binding/types.js';
import { type JsonObject, readObject } from '../common/json.js';
import { packageRoot } from '../common/root.js';
import { cachedSnapshot, isHubId } from '../hub/cache.js';
import { madeFolder } from '../hub/made_folders.js';
import { DRM_CLASS } from './describe.js';
import type { DrmSpec } from './spec.js';

/** The reward model that comes with drm. */
const TINY = join(packageRoot, 'models/tiny-drm');

function specOf(name: string, checkpoint: ComponentFiles, base?: string): DrmSpec {
  const spec: DrmSpec = {
    ...{ name, sees: 'noisy latents', checkpoint },
    ...(base !== undefined && { base }),
    load: async (loading) => (await import('./drm.js')).loadDrm(spec, loading),
  };
  return spec;
}

/** An absolute path, or the snapshot of a hub id; undefined where there is neither. */
export function placeOf(name: string): string | undefined {
  if (name === '') return undefined;
  const made = madeFolder(name);
  if (made !== undefined) return made;
  if (existsSync(name)) return resolve(name);
  return isHubId(name) ? cachedSnapshot(name) : undefined;
}

export interface ModelFolder {
  /** As it was named. */
  path: string;
  /** With config.json: this folder, or model/ in it. */
  inside: string | undefined;
  /** Whether that is model/: `drm train` writes its model into the run's folder, which has a config.json of its own. */
  inRun: boolean;
  config: JsonObject | undefined;
}

/** Throws DrmError BAD_FILE for a config.json that is no JSON. */
export function modelFolder(path: string): ModelFolder {
  const inside = [join(path, 'model'), path].find((at) => existsSync(join(at, 'config.json')));
  const config = inside && readObject(join(inside, 'config.json'), { part: 'reward', advice: 'copy it again' });
  return { path, inside, inRun: inside !== undefined && inside !== path, config: config || undefined };
}

/** Throws DrmError BAD_FILE or MISSING_WEIGHTS for a folder without a whole reward model. */
export function drmInFolder(name: string, { path, inside, config }: ModelFolder): DrmSpec {
  if (inside !== undefined && config?._class_name === DRM_CLASS) {
    const weights = ['model.safetensors.index.json', 'model.safetensors'].map((file) => join(inside, file));
    const found = weights.find((file) => existsSync(file));
    if (found === undefined)
      throw new DrmError(
        'MISSING_WEIGHTS',
        `[reward] ${inside}: expected model.safetensors beside config.json, found none; copy it there, or train the model with \`drm train\``,
        { file: inside },
      );
    const checkpoint = { config: join(inside, 'config.json'), weights: [found] };
    return specOf(name, checkpoint, typeof config.base === 'string' ? config.base : undefined);
  }
  if (config?.task === 'train' && config.settings_hash !== undefined)
    throw new DrmError(
      'MISSING_WEIGHTS',
      `[reward] ${path}: expected a reward model, found a run of \`drm train\` that has not written one yet; name one of its checkpoints as ${path}@latest, or go on with \`drm train --out ${path} --resume\``,
      { file: path },
    );
  const found =
    config === undefined
      ? 'no config.json'
      : `a config.json of ${JSON.stringify(config._class_name ?? config.model_type ?? null)}`;
  throw new DrmError(
    'BAD_FILE',
    `[reward] ${path}: expected a reward model, its config.json naming _class_name ${DRM_CLASS}, found ${found}; name the folder that \`drm train\` wrote (RUN or RUN/model)`,
    { file: path },
  );
}

/** At a path or a hub id; undefined where nothing is. Throws DrmError BAD_FILE or MISSING_WEIGHTS. */
export function drmAt(name: string, path: string): DrmSpec | undefined {
  const at = placeOf(path);
  if (at === undefined) return undefined;
  if (statSync(at).isDirectory()) return drmInFolder(name, modelFolder(at));
  if (/\.safetensors(\.index\.json)?$/.test(path)) return specOf(name, { weights: [at] });
  throw new DrmError(
    'BAD_FILE',
    `[reward] ${path}: expected a folder or a .safetensors file${/\.(bin|ckpt|pt|pth)$/.test(path) ? ', found a pickle checkpoint, which can run code when loaded and is never read here; convert it in Python' : ''}`,
    { file: path },
  );
}

export const tinyDrm = (name: string): DrmSpec | undefined => drmAt(name, TINY);

/** drm:PATH, where PATH may be the name of the one that comes with drm. Throws DrmError MISSING_WEIGHTS, too. */
export function drmNamed(name: string, path: string): DrmSpec | undefined {
  if (path === 'tiny') return tinyDrm(name);
  const found = drmAt(name, path);
  if (found) return found;
  throw new DrmError(
    'MISSING_WEIGHTS',
    `[reward] ${name}: found no ${path}; expected a folder that \`drm train\` wrote, or a .safetensors file`,
    { file: path },
  );
}
