// ImageReward, and the aesthetic predictor, whose head has the same form.
import { blipTokenizer } from '../text/wordpiece.js';
import { padded, scorerSpec } from './scorer.js';
import { ScorerFiles } from './scorer_files.js';
import type { ImageSpec } from './spec.js';
import { PRECISIONS, precisionOf, type Variants } from './variants.js';

export const AESTHETIC_VARIANTS: Variants = {
  torchvision: "images cropped as the original's torchvision did, not as flow_grpo's transformers does",
  ...PRECISIONS,
};

/** Files are looked for at once. Throws DrmError MISSING_WEIGHTS. */
export function imageRewardScorer(name: string, place: string, variants: readonly string[]): ImageSpec {
  const files = ScorerFiles.of('imagereward', name, place);
  const source = { kind: 'imagereward', config: files.config('imagereward'), weights: [files.file('weights')] };
  const folder = files.tokenizer();
  return scorerSpec(name, async () => ({
    unit: 'reward',
    definition: 'ImageReward: its head on image and prompt, less their mean, by their deviation',
    dtype: precisionOf(variants, 'fp32'),
    source,
    reader: padded(blipTokenizer(folder)),
  }));
}

/** A place that is a file is the head's. Likewise. */
export function aestheticScorer(name: string, place: string, variants: readonly string[]): ImageSpec {
  const files = ScorerFiles.of('aesthetic', name, place, 'head');
  const crop = variants.includes('torchvision') ? 'torchvision' : 'transformers';
  const source = {
    kind: 'aesthetic',
    config: files.config('aesthetic'),
    weights: [files.file('weights'), files.file('head')],
    settings: JSON.stringify({ crop }),
  };
  return scorerSpec(name, async () => ({
    unit: 'rating',
    definition: `aesthetic predictor: five affine layers on the image's CLIP ViT-L/14 features; prompts are not read, cropped as ${crop} does`,
    dtype: precisionOf(variants, 'fp32'),
    source,
  }));
}
