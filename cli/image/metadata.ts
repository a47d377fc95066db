// The settings inside a picture: written into its PNG, read back by `drm sample --from`.
import { existsSync, readFileSync } from 'node:fs';
import { DrmError } from '../../binding/error.js';
import type { SampleSettings } from '../config/types.js';
import { VERSION } from '../version.js';
import { readText } from './png_text.js';

/** Settings that change the pixels, and so belong into a picture. */
const PICTURE_KEYS = [
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

/** Likewise, of pictures that a reward chose among candidates. */
const STEPWISE_KEYS = [
  'k',
  'reward',
  'noise_level',
  'select',
  'score_from',
  'score_until',
] as const satisfies (keyof SampleSettings)[];

type PictureSettings = Pick<SampleSettings, (typeof PICTURE_KEYS)[number] | (typeof STEPWISE_KEYS)[number]>;

/** What makes a picture again. */
export interface Recipe {
  settings: Partial<PictureSettings>;
  prompt: string;
  negative_prompt: string;
  seed: string;
}

/** PNG texts of a picture made so: `drm` for --from, `parameters` for people and for other programs. */
export function recipeTexts(
  settings: PictureSettings,
  { prompt, negative, seed }: { prompt: string; negative: string; seed: bigint },
): Record<string, string> {
  const recipe: Recipe & { drm: string } = {
    drm: VERSION,
    settings: Object.fromEntries(
      [...PICTURE_KEYS, ...(settings.k > 1 ? STEPWISE_KEYS : [])].map((key) => [key, settings[key]]),
    ),
    prompt,
    negative_prompt: negative,
    seed: String(seed),
  };
  const { steps, guidance, width, height, model, k, reward, noise_level } = settings;
  const stepwise = k > 1 ? `, Candidates: ${k}, Reward: ${reward}, Noise level: ${noise_level}` : '';
  return {
    parameters: `${prompt}\nNegative prompt: ${negative}\nSteps: ${steps}, CFG scale: ${guidance}, Seed: ${seed}, Size: ${width}x${height}, Model: ${model}${stepwise}, Version: drm ${VERSION}`,
    drm: JSON.stringify(recipe),
  };
}

/** Throws DrmError BAD_FILE when the file is no picture of ours. */
export function readRecipe(file: string): Recipe {
  if (!existsSync(file))
    throw new DrmError('BAD_FILE', `[sample] --from ${file}: expected a PNG made by drm, found no such file`, { file });
  let text: string | undefined;
  try {
    text = readText(readFileSync(file)).drm;
  } catch (error) {
    throw new DrmError('BAD_FILE', `[sample] --from ${file}: ${(error as Error).message}`, { file });
  }
  try {
    const { settings, prompt, negative_prompt, seed } = JSON.parse(text ?? '') as Recipe;
    if (typeof prompt !== 'string' || typeof negative_prompt !== 'string' || typeof settings !== 'object')
      throw new Error('no settings');
    return { settings: { k: 1, ...settings }, prompt, negative_prompt, seed };
  } catch {
    throw new DrmError(
      'BAD_FILE',
      `[sample] --from ${file}: expected a PNG made by drm, found one without its settings (were they stripped by another program?)`,
      { file },
    );
  }
}
