// What there is to sample: prompts, seeds, and their token ids.
import { DrmError } from '../../binding/error.js';
import type { SampleRequest } from '../../binding/types.js';
import type { Context } from '../common/command.js';
import { groupedBy } from '../common/grouped_by.js';
import type { SampleSettings } from '../config/types.js';
import { type Prompt, type PromptSettings, readPrompts } from '../text/prompts.js';
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

/** An image with the settings that it is made by: those of the command, and of its line in the prompt file. */
export interface SampleJob extends Job {
  settings: SampleSettings;
  /** Of which prompt. */
  promptIndex: number;
}

/**
 * Prompts of the flags, then of the file; failing both, of the image that is repeated. What a line says that means nothing
 * here is a warning; `settings: false`: its own settings neither.
 */
export function askedPrompts(
  { options, events }: Pick<Context<PromptFlags>, 'options' | 'events'>,
  from: Recipe | undefined,
  reads: { settings: boolean },
): Prompt[] {
  const prompts: Prompt[] = (options.prompt ?? []).map((prompt) => ({ prompt }));
  if (options.prompts !== undefined) {
    const { prompts: file } = options;
    const { prompts: read, blank, unread } = readPrompts(file);
    if (blank > 0)
      events.emit({ event: 'info', message: `${file}: ${read.length} prompts, ${blank} empty lines passed over` });
    if (!reads.settings)
      for (const key of read.flatMap(({ settings = {} }) => Object.keys(settings)))
        unread.set(key, (unread.get(key) ?? 0) + 1);
    for (const [field, count] of unread)
      events.emit({
        event: 'warning',
        message: `${file}: ${JSON.stringify(field)}, which ${count} of ${read.length} prompts have, has no meaning here and is passed over`,
      });
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

function own({ prompt, settings = {} }: Prompt, settingsOf: (own: PromptSettings) => SampleSettings): SampleSettings {
  try {
    return settingsOf(settings);
  } catch (error) {
    if (!(error instanceof DrmError) || Object.keys(settings).length === 0) throw error;
    const where = `${JSON.stringify(prompt)} of the prompt file`;
    throw new DrmError(error.code, `${where}: ${error.message}`, error.details, { cause: error });
  }
}

/** Image i of a prompt has its seed + i. `settingsOf`: of the command, with those that a prompt has for itself. */
export function plan(prompts: readonly Prompt[], settingsOf: (own: PromptSettings) => SampleSettings): SampleJob[] {
  const known = new Map<string, SampleSettings>();
  return prompts.flatMap((p, promptIndex) => {
    const key = JSON.stringify(p.settings ?? {});
    const settings = known.get(key) ?? own(p, settingsOf);
    known.set(key, settings);
    return Array.from({ length: settings.n }, (_, i) => ({
      prompt: p.prompt,
      negative: p.negativePrompt ?? settings.negative_prompt,
      seed: (p.seed ?? BigInt(settings.seed)) + BigInt(i),
      settings,
      promptIndex,
    }));
  });
}

/** Jobs of equal settings, which one call of the pipeline makes: their places among all. */
export const callsOf = (jobs: readonly SampleJob[]): number[][] =>
  groupedBy([...jobs.keys()], (i) => (jobs[i] as SampleJob).settings);

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
