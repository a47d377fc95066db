// From what a user calls a reward to where it is: reward models (DRMs) and the scorers, under one naming. Nothing is
// loaded here. A new built-in reward is a line in BUILT_IN; a new kind of scorer goes into cli/scorers/registry.ts.
import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { ComponentFiles } from '../../binding/types.js';
import { type JsonObject, readObject } from '../common/json.js';
import { nearest } from '../common/nearest.js';
import { packageRoot } from '../common/root.js';
import { cachedSnapshot, isHubId } from '../hub/cache.js';
import { scorerKinds, scorerNames } from '../scorers/registry.js';

export interface DrmSpec {
  kind: 'drm';
  /** As the user called it. */
  name: string;
  checkpoint: ComponentFiles;
  /** The model it was trained on, which supplies VAE and text encoders; the authors' single file does not say. */
  base?: string;
}

export interface ScorerSpec {
  kind: 'scorer';
  name: string;
  /** What loadScorer() takes. */
  scorer: string;
}

export type RewardSpec = DrmSpec | ScorerSpec;

export interface WeightedReward {
  weight: number;
  reward: RewardSpec;
}

export const DRM_CLASS = 'DiffusionRewardModel';

/** Reward models that come with drm. */
const BUILT_IN: Record<string, string> = {
  tiny: join(packageRoot, 'models/tiny-drm'),
};

const FORMS = () => [
  ...Object.keys(BUILT_IN),
  ...scorerNames(),
  'drm:PATH',
  ...scorerKinds().map((kind) => `${kind}:FOLDER`),
  'the folder of a reward model or a training run',
  "the authors' .safetensors file",
];

function unknown(name: string): DrmError {
  const names = [...Object.keys(BUILT_IN), ...scorerNames()];
  const kinds = ['drm', ...scorerKinds()];
  const colon = name.indexOf(':');
  const guess = colon > 0 ? nearest(name.slice(0, colon), kinds) : nearest(name, [...names, ...kinds]);
  const meant = guess === undefined ? '' : kinds.includes(guess) ? `${guess}:PATH` : guess;
  return new DrmError(
    'USAGE',
    `--reward ${name}: expected one of ${FORMS().join(', ')}; found no such thing${meant && `; did you mean ${meant}?`}`,
    { reward: name },
  );
}

const readConfig = (file: string): JsonObject => readObject(file, { part: 'reward', advice: 'copy it again' });

/** A folder with a reward model, or with a CLIP; `kind` is what the user said it is, if anything. */
function fromFolder(name: string, folder: string, kind?: 'drm'): RewardSpec {
  // `drm train` writes its model into the run's folder, which has a config.json of its own.
  const inside = [join(folder, 'model'), folder].find((at) => existsSync(join(at, 'config.json')));
  const run = inside !== undefined && inside !== folder;
  const config = inside === undefined ? undefined : readConfig(join(inside, 'config.json'));
  if (inside !== undefined && config?._class_name === DRM_CLASS) {
    const weights = ['model.safetensors.index.json', 'model.safetensors'].map((file) => join(inside, file));
    const found = weights.find((file) => existsSync(file));
    if (found === undefined)
      throw new DrmError(
        'MISSING_WEIGHTS',
        `[reward] ${inside}: expected model.safetensors beside config.json, found none; copy it there, or train the model with \`drm train\``,
        { file: inside },
      );
    return {
      kind: 'drm',
      name,
      checkpoint: { config: join(inside, 'config.json'), weights: [found] },
      ...(typeof config.base === 'string' && { base: config.base }),
    };
  }
  if (kind === undefined && !run && config?.model_type === 'clip')
    return { kind: 'scorer', name, scorer: `clip:${folder}` };
  const found =
    config === undefined
      ? 'no config.json'
      : `a config.json of ${JSON.stringify(config._class_name ?? config.model_type ?? null)}`;
  throw new DrmError(
    'BAD_FILE',
    `[reward] ${folder}: expected a reward model, its config.json naming _class_name ${DRM_CLASS}, found ${found}; name the folder that \`drm train\` wrote (RUN or RUN/model)`,
    { file: folder },
  );
}

function fromPath(name: string, path: string, kind?: 'drm'): RewardSpec | undefined {
  if (existsSync(path)) {
    if (statSync(path).isDirectory()) return fromFolder(name, resolve(path), kind);
    if (/\.safetensors(\.index\.json)?$/.test(path))
      return { kind: 'drm', name, checkpoint: { weights: [resolve(path)] } };
    throw new DrmError(
      'BAD_FILE',
      `[reward] ${path}: expected a folder or a .safetensors file${/\.(bin|ckpt|pt|pth)$/.test(path) ? ', found a pickle checkpoint, which can run code when loaded and is never read here; convert it in Python' : ''}`,
      { file: path },
    );
  }
  const cached = isHubId(path) ? cachedSnapshot(path) : undefined;
  return cached === undefined ? undefined : fromFolder(name, cached, kind);
}

/** Throws DrmError USAGE for what is no reward, MISSING_WEIGHTS or BAD_FILE for one that is not whole. */
export function findReward(name: string): RewardSpec {
  const builtIn = (at: string) => (Object.hasOwn(BUILT_IN, at) ? BUILT_IN[at] : undefined);
  if (name.startsWith('drm:')) {
    const at = name.slice(4);
    const found = fromPath(name, builtIn(at) ?? at, 'drm');
    if (found) return found;
    if (builtIn(at) === undefined && at !== '')
      throw new DrmError(
        'MISSING_WEIGHTS',
        `[reward] ${name}: found no ${at}; expected a folder that \`drm train\` wrote, or a .safetensors file`,
        { file: at },
      );
    throw unknown(name);
  }
  const own = builtIn(name);
  if (own !== undefined && existsSync(own)) return fromFolder(name, own, 'drm');
  const kind = scorerKinds().find((scorer) => name.startsWith(`${scorer}:`));
  if (scorerNames().includes(name) || (kind !== undefined && name.length > kind.length + 1))
    return { kind: 'scorer', name, scorer: name };
  const found = name === '' ? undefined : fromPath(name, name);
  if (found) return found;
  throw unknown(name);
}

const WEIGHT = String.raw`[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\*`;

/** "drm:a", or a weighted sum such as "0.7*drm:a+0.3*judge". A plus sign in a path is no sum: a weight must follow it. */
export function parseRewards(text: string): WeightedReward[] {
  if (!new RegExp(`^${WEIGHT}`, 'i').test(text)) return [{ weight: 1, reward: findReward(text) }];
  return text.split(new RegExp(`(?<!\\*)\\+(?=${WEIGHT})`, 'i')).map((part) => {
    const [, weight = '', name = ''] = /^(.*?)\*(.*)$/s.exec(part) ?? [];
    return { weight: Number(weight), reward: findReward(name) };
  });
}
