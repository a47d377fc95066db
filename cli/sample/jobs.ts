// What there is to sample: prompts, seeds, and their token ids.
import { DrmError } from '../../binding/error.js';
import type { SampleRequest } from '../../binding/types.js';
import type { Context } from '../common/command.js';
import type { SampleSettings } from '../config/types.js';
import { type Prompt, readPrompts } from '../text/prompts.js';
import type { PromptTokenizer } from '../text/tokenizer.js';
import type { Recipe } from './metadata.js';

/** One image to make. */
export interface Job {
  prompt: string;
  negative: string;
  seed: bigint;
}

/** Options that say what to sample. */
export interface PromptFlags {
  prompt: string[] | undefined;
  prompts: string | undefined;
}

/** Prompts of the flags, then of the file; failing both, of the image that is repeated. */
export function askedPrompts(
  { options, events }: Pick<Context<PromptFlags>, 'options' | 'events'>,
  from: Recipe | undefined,
): Prompt[] {
  const prompts: Prompt[] = (options.prompt ?? []).map((prompt) => ({ prompt }));
  if (options.prompts !== undefined) {
    const { prompts: file } = options;
    const { prompts: read, blank } = readPrompts(file);
    if (blank > 0)
      events.emit({ event: 'info', message: `${file}: ${read.length} prompts, ${blank} empty lines passed over` });
    prompts.push(...read);
  }
  if (prompts.length === 0 && from) prompts.push({ prompt: from.prompt });
  if (prompts.length === 0)
    throw new DrmError(
      'USAGE',
      'sample: expected a prompt; give one, as in drm sample "a red apple", or --prompts FILE, or --from IMAGE.png',
    );
  return prompts;
}

/** Image i of a prompt has its seed + i. */
export function plan(prompts: Prompt[], settings: SampleSettings): Job[] {
  return prompts.flatMap((p) =>
    Array.from({ length: settings.n }, (_, i) => ({
      prompt: p.prompt,
      negative: p.negativePrompt ?? settings.negative_prompt,
      seed: (p.seed ?? BigInt(settings.seed)) + BigInt(i),
    })),
  );
}

/** Each distinct text is tokenized, and later encoded, once. What an encoder does not see is a warning. */
export async function tokenize(
  jobs: Job[],
  tokenizer: PromptTokenizer,
  t5Length: number,
  warn: (message: string) => void,
): Promise<Pick<SampleRequest, 'prompts' | 'negatives' | 'images'>> {
  const rows: SampleRequest['prompts'] = [];
  const known = new Map<string, number>();
  const row = async (text: string): Promise<number> => {
    const before = known.get(text);
    if (before !== undefined) return before;
    const { tokens, truncated } = await tokenizer.encode(text, t5Length);
    for (const { encoder, kept, total, dropped } of truncated) {
      const end = dropped.length > 60 ? `${dropped.slice(0, 60)} …` : dropped;
      warn(`${encoder} reads ${kept} of ${total} tokens of "${text.slice(0, 30)}…"; not seen: "${end.trim()}"`);
    }
    known.set(text, rows.length);
    return rows.push(tokens) - 1;
  };
  const images: SampleRequest['images'] = [];
  for (const job of jobs)
    images.push({ prompt: await row(job.prompt), negative: await row(job.negative), seed: job.seed });
  return { prompts: rows, negatives: rows, images };
}
