// A scorer of finished images that `drm pretrain scorer` wrote: an image tower and a head, by preferences alone.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { modelFolder } from './drm_files.js';
import { scorerSpec } from './scorer.js';
import type { ImageSpec } from './spec.js';

/** Files are looked for at once. Throws DrmError MISSING_WEIGHTS, BAD_FILE. */
export function trainedScorerAt(name: string, folder: string): ImageSpec {
  const model = modelFolder(folder).inside ?? folder; // of a run, too
  const [config, weights] = ['config.json', 'model.safetensors'].map((file) => join(model, file)) as [string, string];
  const missing = [config, weights].find((file) => !existsSync(file));
  if (missing !== undefined)
    throw new DrmError(
      'MISSING_WEIGHTS',
      `[score] ${name}: expected a folder of \`drm pretrain scorer\` with config.json and model.safetensors, found no ${missing}; name another folder with --scorer scorer:FOLDER`,
      { file: missing },
    );
  return scorerSpec(name, async () => ({
    unit: 'score',
    definition: 'an image tower and its head, learned from preferences; prompts are not read',
    dtype: 'fp32',
    source: { kind: 'aesthetic', config, weights: [weights], settings: '{}' },
  }));
}
