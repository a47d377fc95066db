// Which images `drm eval images` makes: every prompt has noise of its own, the same for all settings that are compared.
import { createHash } from 'node:crypto';
import type { SampleSettings } from '../config/types.js';
import type { Job } from '../sample/jobs.js';
import type { Prompt } from '../text/prompts.js';

/** (base + the first four bytes of the prompt's sha256, big-endian) mod 2^31: as flow_grpo seeds its evaluation. */
export function seedOfPrompt(prompt: string, base: number): bigint {
  const hash = createHash('sha256').update(prompt).digest().readUInt32BE(0);
  return (BigInt(base) + BigInt(hash)) % 2n ** 31n;
}

/**
 * `n` images a prompt, of its seed + 0, 1, ...; a prompt that stands in the list again goes on counting. Seeds rest on the
 * prompt's text alone, so that a part of the list, or the list in another order, gives the same images. A prompt's own
 * seed (JSONL) stands for its hash.
 */
export function evaluationJobs(
  prompts: readonly Prompt[],
  { n, seed, negative_prompt }: Pick<SampleSettings, 'n' | 'seed' | 'negative_prompt'>,
): Job[] {
  const seen = new Map<string, number>();
  return prompts.flatMap((p) => {
    const own = p.seed !== undefined;
    const before = own ? 0 : (seen.get(p.prompt) ?? 0);
    if (!own) seen.set(p.prompt, before + n);
    const first = p.seed ?? seedOfPrompt(p.prompt, seed);
    return Array.from({ length: n }, (_, i) => ({
      prompt: p.prompt,
      negative: p.negativePrompt ?? negative_prompt,
      seed: first + BigInt(before + i),
    }));
  });
}
