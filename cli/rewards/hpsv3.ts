// HPSv3: Qwen2-VL with a head that says how good an image is, and how sure it is.
import { dirname } from 'node:path';
import { Hpsv3Prompt } from '../text/hpsv3_prompt.js';
import { Qwen2Tokenizer } from '../text/qwen2_tokenizer.js';
import { scorerSpec } from './scorer.js';
import { ScorerFiles } from './scorer_files.js';
import type { ImageSpec } from './spec.js';
import { precisionOf } from './variants.js';

/** Files are looked for at once. Throws DrmError MISSING_WEIGHTS, and BAD_FILE for another text than the published one. */
export function hpsv3Scorer(name: string, place: string, variants: readonly string[]): ImageSpec {
  const files = ScorerFiles.of('hpsv3', name, place);
  const config = files.config('hpsv3-7b');
  const source = { kind: 'hpsv3', config, weights: [files.file('weights')] };
  const folder = files.tokenizer();
  const text = Hpsv3Prompt.read(dirname(files.file('instruction')), config);
  return scorerSpec(name, async () => {
    const tokenizer = Qwen2Tokenizer.fromFolder(folder);
    const dtype = precisionOf(variants, 'bf16');
    return {
      unit: 'mu',
      definition: 'HPSv3: mu, the mean of what its head says of image and prompt',
      dtype,
      precision: dtype === 'fp32' ? 'in fp32' : `in ${dtype} (in fp32 on a CPU without it)`,
      source,
      // Nothing is cut: what is too long for the network is refused there.
      reader: (prompts) =>
        Promise.all(
          prompts.map(async (prompt) => ({
            ids: BigInt64Array.from(await tokenizer.ids(text.chat(prompt)), BigInt),
            dropped: '',
          })),
        ),
      deviates: true,
    };
  });
}
