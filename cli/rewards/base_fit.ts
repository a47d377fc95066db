// Whether a reward model and a base belong together, asked before either is loaded.
import { DrmError } from '../../binding/error.js';
import { describeModel } from '../../binding/index.js';
import type { ComponentFiles, PipelineSource } from '../../binding/types.js';
import { describeBase } from '../hub/description.js';
import { weightsHash } from '../hub/fingerprint.js';
import { describeReward, type RewardDescription } from './describe.js';
import { findReward } from './registry.js';

export interface DescribedReward {
  /** As it was named. */
  name: string;
  checkpoint: ComponentFiles;
  /** Undefined for the authors' single file. */
  description: RewardDescription | undefined;
}

/** The reward model of this name. Throws DrmError USAGE when the name is another reward's, BAD_FILE, BAD_CONFIG or MISSING_WEIGHTS. */
export function findDrm(name: string): DescribedReward {
  const spec = findReward(name);
  if (spec.sees !== 'noisy latents')
    throw new DrmError(
      'USAGE',
      `--from ${name}: expected a reward model that \`drm train\` wrote, found the scorer ${spec.name}; name a run or its model/`,
      { reward: name },
    );
  return { name, checkpoint: spec.checkpoint, description: describeReward(spec.checkpoint) };
}

/** Throws DrmError BAD_CONFIG when the reward model was made from another base than this one. */
export function baseFits(
  { name, checkpoint, description }: DescribedReward,
  base: string,
  source: PipelineSource,
): void {
  if (!description) return; // the core compares shapes
  const [theirs, own] = [describeModel({ checkpoint }).shape, describeBase(source).shape];
  const differing = Object.keys({ ...own, ...theirs }).filter((key) => own[key] !== theirs[key]);
  if (differing.length === 0) return;
  const list = differing.map((key) => `${key} ${theirs[key] ?? 'none'} instead of ${own[key] ?? 'none'}`).join(', ');
  throw new DrmError(
    'BAD_CONFIG',
    `[reward] ${name}: expected a reward model of ${base}, found one of ${description.base} (${list}); name the base it was made from with --model`,
    { file: name, expected: base, found: description.base },
  );
}

/** A sentence for a base whose VAE is not the one that the reward model was trained with; undefined when it is, or may be. */
export async function otherVae(
  { name, description }: Pick<DescribedReward, 'name' | 'description'>,
  base: string,
  vae: ComponentFiles,
): Promise<string | undefined> {
  if (description?.base_vae_sha256 === undefined || description.base_vae_sha256 === (await weightsHash(vae)))
    return undefined;
  return `${name}: the VAE of ${base} is another file than that of ${description.base}, which it was trained with; unless it is the same one in another format, its scores mean nothing`;
}

/** Blocks run where nobody says how many: all but the last eighth, rounded up, which gives the authors' 21 of 24 and 33 of 38. */
export const keptByRule = (layers: number): number => layers - Math.ceil(layers / 8);
