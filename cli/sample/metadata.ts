// The settings inside an image: written into its file, read back by `drm sample --from`.
import { existsSync } from 'node:fs';
import { DrmError } from '../../binding/error.js';
import { throwLack } from '../common/errors.js';
import { parseJson } from '../common/json.js';
import { anything, text as aText, listOf, mapOf, number, objectOf, optional, type Shape } from '../common/shape.js';
import { VERSION } from '../common/version.js';
import type { SampleSettings } from '../config/types.js';
import { textsOf } from '../image/write.js';
import { type Lora, textOf } from '../lora/loras.js';

/** Settings that change the pixels, and so belong into an image. */
const IMAGE_KEYS = [
  'model',
  'steps',
  'guidance',
  'height',
  'width',
  't5_length',
  'dtype',
  'tile',
  'skip_layers',
  'skip_layer_scale',
  'skip_layer_start',
  'skip_layer_stop',
] as const satisfies (keyof SampleSettings)[];

/** Likewise, of images that a reward chose among candidates. */
const STEPWISE_KEYS = [
  'k',
  'reward',
  'noise_level',
  'select',
  'score_from',
  'score_until',
] as const satisfies (keyof SampleSettings)[];

/** Likewise, of images with noise at each step and without a choice. */
const SDE_KEYS = ['sde', 'noise_level', 'score_from', 'score_until'] as const satisfies (keyof SampleSettings)[];

type ImageSettings = Pick<
  SampleSettings,
  (typeof IMAGE_KEYS)[number] | (typeof STEPWISE_KEYS)[number] | (typeof SDE_KEYS)[number] | 'lora'
>;

/** What makes an image again. */
export interface Recipe {
  settings: Partial<ImageSettings>;
  /** The adapters that were applied; what `settings.lora` says is made of them. */
  loras?: { file: string; scale: number; sha256: string }[];
  prompt: string;
  negative_prompt: string;
  seed: string;
}

/** Texts of an image made so: `drm` for --from, `parameters` for people and for other programs. */
export function recipeTexts(
  settings: Omit<ImageSettings, 'lora'>,
  { prompt, negative, seed }: { prompt: string; negative: string; seed: bigint },
  loras: readonly Lora[] = [],
): Record<string, string> {
  const noiseKeys = settings.k > 1 ? STEPWISE_KEYS : settings.sde ? SDE_KEYS : [];
  const recipe: Recipe & { drm: string } = {
    drm: VERSION,
    settings: Object.fromEntries([...IMAGE_KEYS, ...noiseKeys].map((key) => [key, settings[key]])),
    ...(loras.length > 0 && {
      loras: loras.map(({ name, strength, sha256 }) => ({ file: name, scale: strength, sha256 })),
    }),
    prompt,
    negative_prompt: negative,
    seed: String(seed),
  };
  const { steps, guidance, width, height, model, k, reward, noise_level, sde } = settings;
  const candidates = k > 1 ? `, Candidates: ${k}, Reward: ${reward}` : '';
  const stepwise = k > 1 || sde ? `${candidates}, Noise level: ${noise_level}` : '';
  const adapters = loras.length > 0 ? `, Lora: ${loras.map(textOf).join(' ')}` : '';
  return {
    parameters: `${prompt}\nNegative prompt: ${negative}\nSteps: ${steps}, CFG scale: ${guidance}, Seed: ${seed}, Size: ${width}x${height}, Model: ${model}${adapters}${stepwise}, Version: drm ${VERSION}`,
    drm: JSON.stringify(recipe),
  };
}

/** Whether the settings are right is the schema's affair. */
const RECIPE = objectOf({
  settings: mapOf(anything),
  loras: optional(listOf(objectOf({ file: aText, scale: number, sha256: aText }))),
  prompt: aText,
  negative_prompt: aText,
  seed: aText,
}) as Shape<Recipe>;

/** Throws DrmError BAD_FILE when the file is no image of ours. */
export async function readRecipe(file: string): Promise<Recipe> {
  const expected = 'expected an image made by drm';
  const fail = (what: string) => new DrmError('BAD_FILE', `[sample] --from ${file}: ${what}`, { file });
  if (!existsSync(file)) throw fail(`${expected}, found no such file`);
  const { drm = '' } = await textsOf(file).catch((error: unknown) => {
    throwLack(error);
    throw fail(error instanceof DrmError ? error.message : `${expected}, found ${(error as Error).message}`);
  });
  try {
    const { settings, loras = [], prompt, negative_prompt, seed } = RECIPE(parseJson(drm), '');
    const lora = loras.map(({ file: name, scale }) => textOf({ name, strength: scale }));
    return { settings: { k: 1, ...settings, lora }, loras, prompt, negative_prompt, seed };
  } catch {
    throw fail(`${expected}, found one without its settings (were they stripped by another program?)`);
  }
}
