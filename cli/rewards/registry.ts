// All rewards by name: NAME, NAME:PLACE, NAME@VARIANT:PLACE. A new one is its own file, which gives a spec (spec.ts) and,
// loaded, a Reward, and a line in KINDS.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { JsonObject } from '../common/json.js';
import { nearest } from '../common/nearest.js';
import { packageRoot } from '../common/root.js';
import { AESTHETIC_VARIANTS, aestheticScorer, imageRewardScorer } from './blip_scorers.js';
import { clipAt, isClipConfig } from './clip.js';
import { CLIP_VARIANTS, clipScorer } from './clip_scorers.js';
import { isDistance } from './distances.js';
import { drmAt, drmInFolder, drmNamed, modelFolder, placeOf, tinyDrm } from './drm_files.js';
import { hpsv3Scorer } from './hpsv3.js';
import { MPS_VARIANTS, mpsScorer } from './mps.js';
import type { Sees } from './reward.js';
import type { ImageSpec, RewardSpec } from './spec.js';
import { trainedScorerAt } from './trained_scorer.js';
import { truthSpec } from './truth.js';
import { expectVariants, PRECISIONS, splitVariants, type Variants } from './variants.js';

export interface RewardKind {
  /** 'judge', or 'clip' of clip:FOLDER. */
  name: string;
  /** What stands after the colon; what has none is a name by itself. */
  place?: 'FOLDER' | 'PATH';
  /** With a place: whether the name alone will do, too. */
  alone?: true;
  /** What may be chosen by NAME@VARIANT. */
  variants?: Variants;
  /** What it is, for help. */
  about: string;
  sees: Sees;
  /** Where it is; nothing is loaded. `place` is '' for a name by itself. Undefined where such a name is not here. */
  find(name: string, place: string, variants: readonly string[]): RewardSpec | undefined;
  /** Whether a folder with this config.json is one, where the user names the folder alone. */
  owns?(config: JsonObject): boolean;
}

const JUDGE = join(packageRoot, 'models/judge');

/** A published scorer, by its name with or without the place of its files. */
const published = (name: string, about: string, variants: Variants, find: RewardKind['find']): RewardKind => ({
  ...{ name, about, variants, find },
  ...{ place: 'PATH', alone: true, sees: 'images' },
});

const clipKind = (name: keyof typeof CLIP_VARIANTS, about: string): RewardKind =>
  published(name, about, CLIP_VARIANTS[name], (...asked) => clipScorer(name, ...asked));

const KINDS: RewardKind[] = [
  { name: 'tiny', about: 'the reward model of `tiny`', sees: 'noisy latents', find: tinyDrm },
  { name: 'judge', about: 'a small CLIP of emoji', sees: 'images', find: (name) => clipAt(name, JUDGE) },
  { name: 'truth', about: 'what simulated raters look for, as it is', sees: 'images', find: (name) => truthSpec(name) },
  { name: 'drm', place: 'PATH', about: 'a reward model by `drm train`', sees: 'noisy latents', find: drmNamed },
  { name: 'clip', place: 'FOLDER', about: 'the cosine of a CLIP', sees: 'images', find: clipAt, owns: isClipConfig },
  {
    ...{ name: 'scorer', place: 'FOLDER', about: 'a scorer by `drm pretrain scorer`', sees: 'images' },
    find: trainedScorerAt,
  },
  published('aesthetic', 'the aesthetic predictor, which reads no prompt', AESTHETIC_VARIANTS, aestheticScorer),
  clipKind('clip-h', 'the cosine of CLIP ViT-H/14'),
  clipKind('pickscore', 'PickScore'),
  clipKind('hps', 'HPS v1'),
  clipKind('hpsv2', 'HPS v2.0'),
  clipKind('hpsv2.1', 'HPS v2.1'),
  published('imagereward', 'ImageReward', PRECISIONS, imageRewardScorer),
  published('mps', 'MPS', MPS_VARIANTS, mpsScorer),
  published('hpsv3', 'HPSv3', PRECISIONS, hpsv3Scorer),
];

/** For rewards that do not come with drm: those of tests. */
export function registerReward(kind: RewardKind): void {
  KINDS.push(kind);
}

const namesOf = (kinds: readonly RewardKind[]) =>
  kinds.flatMap(({ name, place, alone }) => (place && !alone ? [] : [name]));
const placedOf = (kinds: readonly RewardKind[]) => kinds.filter(({ place }) => place);
const prefixesOf = (kinds: readonly RewardKind[]) => placedOf(kinds).map(({ name }) => name);
const formOf = ({ name, place, alone }: RewardKind) =>
  place ? (alone ? `${name}[:${place}]` : `${name}:${place}`) : name;
/** Names by themselves first. */
const formsOf = (kinds: readonly RewardKind[]) =>
  [...kinds.filter(({ place }) => !place), ...placedOf(kinds)].map(formOf);

/** What may be asked for, and whether it is on this machine. */
export interface KnownReward extends Pick<RewardKind, 'name' | 'about' | 'sees'> {
  /** 'clip:FOLDER', 'pickscore[:PATH]'. */
  form: string;
  needsPlace: boolean;
  /** Undefined where the user says the place. */
  here: boolean | undefined;
}

export function knownRewards(): KnownReward[] {
  return KINDS.map((kind) => {
    const { name, about, sees, place, alone } = kind;
    return { name, about, sees, form: formOf(kind), needsPlace: place !== undefined && !alone, here: isHere(kind) };
  });
}

function isHere({ name, place, alone, find }: RewardKind): boolean | undefined {
  if (place && !alone) return undefined;
  try {
    return find(name, '', []) !== undefined;
  } catch (error) {
    if (error instanceof DrmError) return false;
    throw error;
  }
}

function unknown(name: string): DrmError {
  const [prefixes, names] = [prefixesOf(KINDS), namesOf(KINDS)];
  const colon = name.indexOf(':');
  const guess = colon > 0 ? nearest(name.slice(0, colon), prefixes) : nearest(name, [...names, ...prefixes]);
  const needsPlace = guess !== undefined && (colon > 0 || !names.includes(guess));
  const meant = needsPlace ? `${guess}:PATH` : guess;
  const forms = [
    ...formsOf(KINDS),
    'the folder of a reward model or a training run',
    "the authors' .safetensors file",
  ].join(', ');
  return new DrmError(
    'USAGE',
    `--reward ${name}: expected one of ${forms}; found no such thing${meant ? `; did you mean ${meant}?` : ''}`,
    { reward: name },
  );
}

/** Throws DrmError USAGE for a distance between images, which people look for among rewards. */
function refuseDistance(name: string): void {
  if (!isDistance(name)) return;
  throw new DrmError(
    'USAGE',
    `[reward] ${name}: expected a score of single images, found a distance between two; \`drm eval images --diversity ${name}\` measures by it how different the images of a prompt are`,
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

interface Named {
  kind: RewardKind;
  find(): RewardSpec | undefined;
}

/** The kind of a name, or of a kind and its place. Throws DrmError USAGE for a variant that it does not have. */
function registered(name: string): Named | undefined {
  const colon = name.indexOf(':');
  const place = colon > 0 ? name.slice(colon + 1) : '';
  const { kind: wanted, variants } = splitVariants(place === '' ? name : name.slice(0, colon));
  const fits = (one: RewardKind) => (place === '' ? one.place === undefined || one.alone : one.place !== undefined);
  const kind = KINDS.find((one) => one.name === wanted && fits(one));
  if (!kind) return undefined;
  expectVariants(name, wanted, variants, kind.variants);
  return { kind, find: () => kind.find(name, place, variants) };
}

/** Of a folder, a .safetensors file or a hub id, named without a kind. */
function atPath(name: string): RewardSpec | undefined {
  const path = placeOf(name);
  if (path === undefined || !statSync(path).isDirectory()) return drmAt(name, name);
  const folder = modelFolder(path);
  const { config, inRun } = folder;
  const kind = !inRun && config && KINDS.find(({ owns }) => owns?.(config));
  return kind ? kind.find(name, path, []) : drmInFolder(name, folder);
}

/** Throws DrmError USAGE for what is no reward, MISSING_WEIGHTS or BAD_FILE for one that is not whole. */
export function findReward(name: string): RewardSpec {
  refuseDistance(name);
  const known = registered(name);
  const found = known?.find() ?? atPath(name);
  if (found) return found;
  throw unknown(name);
}

/** A reward of finished images, by its name or its kind and place alone. Throws DrmError USAGE in the words of `--scorer`. */
export function findImageReward(name: string): ImageSpec {
  refuseDistance(name);
  const known = registered(name);
  const found = known?.kind.sees === 'images' ? known.find() : undefined;
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
