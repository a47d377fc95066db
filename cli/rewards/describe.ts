// What a reward model says of itself before it is loaded: all that cli knows of one. It is read from config.json beside its
// model.safetensors, which csrc/reward reads, too; the authors' single file has none.
import { DrmError } from '../../binding/error.js';
import type { ComponentFiles } from '../../binding/types.js';
import { isObject, type JsonObject, readObject, shaped } from '../common/json.js';
import { objectOf, optional, text } from '../common/shape.js';

export const DRM_CLASS = 'DiffusionRewardModel';

/** By the names that the file has for them. */
export interface RewardDescription {
  _class_name: typeof DRM_CLASS;
  /** What the base was called where the model was trained. */
  base: string;
  /** sha256 of the base's VAE: scores are of its latents and no other's. */
  base_vae_sha256?: string;
  /** config.json of the base's SD3Transformer2DModel, all blocks counted. */
  backbone: JsonObject;
  /** The first blocks of the backbone, which are run. */
  keep_layers: number;
  head: { channels: number; groups: number; hidden: number; dropout: number };
  t5_length: number;
  /** Pixels a side of the images it was trained with. */
  size: number;
  /** How it came to be: settings of the run, steps, held-out figures. Read by people. */
  training?: JsonObject;
}

const TEXTS = objectOf({ base: optional(text), base_vae_sha256: optional(text) });

/** Undefined for the authors' single file. Throws DrmError BAD_FILE or BAD_CONFIG when the file is not the config of a reward model. */
export function describeReward({ config: file }: Pick<ComponentFiles, 'config'>): RewardDescription | undefined {
  if (file === undefined) return undefined;
  const config: Partial<RewardDescription> = readObject(file, {
    part: 'reward',
    expected: 'the config of a reward model',
  });
  const bad = (what: string, details: Record<string, string> = {}) =>
    new DrmError('BAD_CONFIG', `[reward] ${file}: ${what}`, { file, ...details });
  if (config._class_name !== DRM_CLASS)
    throw bad(
      `expected _class_name ${DRM_CLASS}, found ${JSON.stringify(config._class_name) ?? 'none'}; is it a reward model (\`drm train\` writes one to RUN/model)?`,
    );
  for (const key of ['backbone', 'head'] as const)
    if (!isObject(config[key]))
      throw bad(`${key}: expected an object, found ${JSON.stringify(config[key]) ?? 'none'}`, { key });
  for (const key of ['keep_layers', 't5_length', 'size'] as const)
    if (!Number.isSafeInteger(config[key]))
      throw bad(`${key}: expected a whole number, found ${JSON.stringify(config[key]) ?? 'none'}`, { key });
  return shaped(file, config, TEXTS, { part: 'reward', code: 'BAD_CONFIG' }) as RewardDescription;
}
