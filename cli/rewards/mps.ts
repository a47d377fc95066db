// MPS: CLIP ViT-H/14 with a cross module, asked about its authors' overall condition.

import { readShaped } from '../common/json.js';
import { count, objectOf, optional } from '../common/shape.js';
import { clipRow } from '../text/clip_rows.js';
import { MPS_CONDITION } from '../text/mps_condition.js';
import { CLIP_LENGTH, Tokenizer } from '../text/tokenizer.js';
import { clipReader } from './clip_scorers.js';
import { scorerSpec } from './scorer.js';
import { ScorerFiles } from './scorer_files.js';
import type { ImageSpec } from './spec.js';
import { PRECISIONS, precisionOf, type Variants } from './variants.js';

export const MPS_VARIANTS: Variants = {
  'threshold-0.01': "as the example of its README, not as its evaluation's 0.3",
  ...PRECISIONS,
};

/** How many ids the text tower reads. */
const LENGTH = objectOf({ text_config: optional(objectOf({ max_position_embeddings: optional(count) })) });

/** Files are looked for at once. Throws DrmError MISSING_WEIGHTS. */
export function mpsScorer(name: string, place: string, variants: readonly string[]): ImageSpec {
  const files = ScorerFiles.of('mps', name, place);
  const [config, weights, folder] = [files.config('mps'), files.file('weights'), files.tokenizer()];
  const threshold = variants.includes('threshold-0.01') ? 0.01 : 0.3;
  return scorerSpec(name, async () => {
    const tokenizer = Tokenizer.fromFolder(folder);
    const { text_config: text } = readShaped(config, LENGTH, { part: 'mps', code: 'BAD_CONFIG' });
    const length = text?.max_position_embeddings ?? CLIP_LENGTH;
    const { ids } = await clipRow(tokenizer, MPS_CONDITION, length, 'transformers');
    const settings = JSON.stringify({ threshold, condition: Array.from(ids, Number) });
    return {
      unit: 'e^s cosine',
      definition: `MPS: e^s times the cosine of prompt and image, seen under its overall condition with threshold ${threshold}`,
      dtype: precisionOf(variants, 'fp32'),
      source: { kind: 'mps', config, weights: [weights], settings },
      reader: clipReader(tokenizer, 'transformers'),
    };
  });
}
