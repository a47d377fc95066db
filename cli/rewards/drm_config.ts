// What a reward model says of itself: config.json beside its model.safetensors. csrc/reward reads it, too; the authors'
// single file has none.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { DrmError } from '../../binding/error.js';
import type { ComponentFiles } from '../../binding/types.js';
import { isObject, readObject, shaped } from '../common/json.js';
import { objectOf, optional, text } from '../common/shape.js';
import { DRM_CLASS, findReward } from './registry.js';

export interface DrmConfig {
  _class_name: typeof DRM_CLASS;
  /** What the base was called where the model was trained. */
  base: string;
  /** sha256 of the base's VAE: scores are of its latents and no other's. */
  base_vae_sha256?: string;
  /** config.json of the base's SD3Transformer2DModel, all blocks counted. */
  backbone: Record<string, unknown>;
  /** The first blocks of the backbone, which are run. */
  keep_layers: number;
  head: { channels: number; groups: number; hidden: number; dropout: number };
  t5_length: number;
  /** Pixels a side of the pictures it was trained with. */
  size: number;
  /** How it came to be: settings of the run, steps, held-out figures. Read by people. */
  training?: Record<string, unknown>;
}

export interface FoundDrm {
  /** As it was named. */
  name: string;
  checkpoint: ComponentFiles;
  /** Undefined for the authors' single file. */
  config: DrmConfig | undefined;
}

const TEXTS = objectOf({ base: optional(text), base_vae_sha256: optional(text) });

/** Throws DrmError BAD_FILE or BAD_CONFIG when the file is not the config of a reward model. */
export function readDrmConfig(file: string): DrmConfig {
  const config: Partial<DrmConfig> = readObject(file, { part: 'reward', expected: 'the config of a reward model' });
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
  return shaped(file, config, TEXTS, { part: 'reward', code: 'BAD_CONFIG' }) as DrmConfig;
}

/** The reward model of this name. Throws DrmError USAGE when the name is another reward's, BAD_FILE, BAD_CONFIG or MISSING_WEIGHTS. */
export function findDrm(name: string): FoundDrm {
  const spec = findReward(name);
  if (spec.kind !== 'drm')
    throw new DrmError(
      'USAGE',
      `--from ${name}: expected a reward model that \`drm train\` wrote, found the scorer ${spec.scorer}; name a run or its model/`,
      { reward: name },
    );
  const { config } = spec.checkpoint;
  return { name, checkpoint: spec.checkpoint, config: config === undefined ? undefined : readDrmConfig(config) };
}

/** Of a backbone, what decides whether another's latents and prompts mean anything to it. */
const SHAPE = [
  'num_layers',
  'num_attention_heads',
  'attention_head_dim',
  'in_channels',
  'patch_size',
  'joint_attention_dim',
  'pooled_projection_dim',
  'caption_projection_dim',
];

/** Throws DrmError BAD_CONFIG when the reward model was made from another base than the one with this transformer config. */
export function baseFits({ name, config }: FoundDrm, base: string, transformerConfig: string): void {
  if (!config) return; // the core compares shapes
  const own = readObject(transformerConfig, { part: 'reward', expected: "a transformer's config" });
  const differing = SHAPE.filter((key) => key in own && key in config.backbone && own[key] !== config.backbone[key]);
  if (differing.length === 0) return;
  const list = differing.map((key) => `${key} ${config.backbone[key]} instead of ${own[key]}`).join(', ');
  throw new DrmError(
    'BAD_CONFIG',
    `[reward] ${name}: expected a reward model of ${base}, found one of ${config.base} (${list}); name the base it was made from with --model`,
    { file: name, expected: base, found: config.base },
  );
}

/** sha256 of a part's weights, file by file; of a VAE it is what base_vae_sha256 holds. */
export async function weightsHash({ weights }: ComponentFiles): Promise<string> {
  const hash = createHash('sha256');
  for (const file of weights) for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** A sentence for a base whose VAE is not the one that the reward model was trained with; undefined when it is, or may be. */
export async function otherVae(
  { name, config }: FoundDrm,
  base: string,
  vae: ComponentFiles,
): Promise<string | undefined> {
  if (config?.base_vae_sha256 === undefined || config.base_vae_sha256 === (await weightsHash(vae))) return undefined;
  return `${name}: the VAE of ${base} is another file than that of ${config.base}, which it was trained with; unless it is the same one in another format, its scores mean nothing`;
}

/** Blocks run where nobody says how many: all but the last eighth, rounded up, which gives the authors' 21 of 24 and 33 of 38. */
export const keptByRule = (layers: number): number => layers - Math.ceil(layers / 8);
