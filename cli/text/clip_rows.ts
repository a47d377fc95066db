// Prompts as rows of ids for the scorers of CLIP's family, which clean and pad them in one of two ways.
import { cleanForOpenClip } from './clip_cleaning.js';
import type { Tokenizer } from './tokenizer.js';

/**
 * 'transformers': as its fast tokenizer cleans (CLIP-H, PickScore, MPS), padded with the end token, which MPS reads. 'open_clip': as
 * OpenAI and open_clip clean (HPS v1, HPSv2), padded with 0.
 */
export type ClipTextStyle = 'transformers' | 'open_clip';

/** `length` ids, cut so that the end token stays; `dropped` is the end of the prompt that is then not read. */
export async function clipRow(
  tokenizer: Tokenizer,
  prompt: string,
  length: number,
  style: ClipTextStyle,
): Promise<{ ids: BigInt64Array; dropped: string }> {
  const text = style === 'open_clip' ? cleanForOpenClip(prompt) : prompt;
  const { ids, kept, dropped } = await tokenizer.padded(text, length);
  const end = ids[kept - 1] ?? 0n;
  // Whatever the tokenizer's own files pad with.
  return { ids: ids.fill(style === 'open_clip' ? 0n : end, kept), dropped };
}
