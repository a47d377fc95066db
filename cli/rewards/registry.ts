// All rewards by name. A new one is its own file, which gives a spec (spec.ts) and, loaded, a Reward, and a line in KINDS.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { JsonObject } from '../common/json.js';
import { nearest } from '../common/nearest.js';
import { packageRoot } from '../common/root.js';
import { clipAt, isClipConfig } from './clip.js';
import { drmAt, drmInFolder, drmNamed, modelFolder, placeOf, tinyDrm } from './drm_files.js';
import type { Sees } from './reward.js';
import type { ImageSpec, RewardSpec } from './spec.js';

export interface RewardKind {
  /** 'judge', or 'clip' of clip:FOLDER. */
  name: string;
  /** What stands after the colon; what has none is a name by itself. */
  place?: 'FOLDER' | 'PATH';
  /** What it is, for help. */
  about: string;
  sees: Sees;
  /** Where it is; nothing is loaded. `place` is '' for a name by itself. Undefined where such a name is not here. */
  find(name: string, place: string): RewardSpec | undefined;
  /** Whether a folder with this config.json is one, where the user names the folder alone. */
  owns?(config: JsonObject): boolean;
}

const JUDGE = join(packageRoot, 'models/judge');

const KINDS: RewardKind[] = [
  { name: 'tiny', about: 'the reward model of `tiny`', sees: 'noisy latents', find: tinyDrm },
  { name: 'judge', about: 'a small CLIP of emoji', sees: 'images', find: (name) => clipAt(name, JUDGE) },
  { name: 'drm', place: 'PATH', about: 'a reward model by `drm train`', sees: 'noisy latents', find: drmNamed },
  { name: 'clip', place: 'FOLDER', about: 'the cosine of a CLIP', sees: 'images', find: clipAt, owns: isClipConfig },
];

/** For rewards that do not come with drm: those of tests. */
export function registerReward(kind: RewardKind): void {
  KINDS.push(kind);
}

const namesOf = (kinds: readonly RewardKind[]) => kinds.flatMap(({ name, place }) => (place ? [] : [name]));
const placedOf = (kinds: readonly RewardKind[]) => kinds.filter(({ place }) => place);
const prefixesOf = (kinds: readonly RewardKind[]) => placedOf(kinds).map(({ name }) => name);
const formOf = ({ name, place }: RewardKind) => (place ? `${name}:${place}` : name);
/** Names by themselves first. */
const formsOf = (kinds: readonly RewardKind[]) => [...namesOf(kinds), ...placedOf(kinds).map(formOf)];

function unknown(name: string): DrmError {
  const prefixes = prefixesOf(KINDS);
  const colon = name.indexOf(':');
  const guess = colon > 0 ? nearest(name.slice(0, colon), prefixes) : nearest(name, [...namesOf(KINDS), ...prefixes]);
  const meant = guess === undefined ? '' : prefixes.includes(guess) ? `${guess}:PATH` : guess;
  const forms = [
    ...formsOf(KINDS),
    'the folder of a reward model or a training run',
    "the authors' .safetensors file",
  ].join(', ');
  return new DrmError(
    'USAGE',
    `--reward ${name}: expected one of ${forms}; found no such thing${meant && `; did you mean ${meant}?`}`,
    { reward: name },
  );
}

/** In the words of `--scorer`, which is for rewards of finished images. */
function unknownImageReward(name: string): DrmError {
  const kinds = KINDS.filter(({ sees }) => sees === 'images');
  const colon = name.indexOf(':');
  const guess = nearest(colon > 0 ? name.slice(0, colon) : name, [...namesOf(kinds), ...prefixesOf(kinds)]);
  const meant = kinds.find((kind) => kind.name === guess);
  return new DrmError(
    'USAGE',
    `--scorer ${name}: expected one of ${formsOf(kinds).join(', ')}${meant ? `; did you mean ${formOf(meant)}?` : ''}`,
    { scorer: name },
  );
}

/** The kind of a name, or of a kind and its place. */
function registered(name: string): { kind: RewardKind; place: string } | undefined {
  const colon = name.indexOf(':');
  const place = colon > 0 ? name.slice(colon + 1) : '';
  const wanted = place === '' ? name : name.slice(0, colon);
  const kind = KINDS.find((one) => one.name === wanted && (one.place !== undefined) === (place !== ''));
  return kind && { kind, place };
}

/** Of a folder, a .safetensors file or a hub id, named without a kind. */
function atPath(name: string): RewardSpec | undefined {
  const path = placeOf(name);
  if (path === undefined || !statSync(path).isDirectory()) return drmAt(name, name);
  const folder = modelFolder(path);
  const { config, inRun } = folder;
  const kind = !inRun && config && KINDS.find(({ owns }) => owns?.(config));
  return kind ? kind.find(name, path) : drmInFolder(name, folder);
}

/** Throws DrmError USAGE for what is no reward, MISSING_WEIGHTS or BAD_FILE for one that is not whole. */
export function findReward(name: string): RewardSpec {
  const known = registered(name);
  const found = known?.kind.find(name, known.place) ?? atPath(name);
  if (found) return found;
  throw unknown(name);
}

/** A reward of finished images, by its name or its kind and place alone. Throws DrmError USAGE in the words of `--scorer`. */
export function findImageReward(name: string): ImageSpec {
  const known = registered(name);
  const found = known?.kind.sees === 'images' ? known.kind.find(name, known.place) : undefined;
  if (found?.sees === 'images') return found;
  throw unknownImageReward(name);
}

/** What `drm eval` takes as a judge: that, or a reward model under any name. Throws like both. */
export function findJudge(name: string): RewardSpec {
  try {
    const found = findReward(name);
    if (found.sees === 'noisy latents') return found;
  } catch (error) {
    if (!(error instanceof DrmError && error.code === 'USAGE')) throw error;
  }
  return findImageReward(name);
}
