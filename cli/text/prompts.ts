// Prompt files: text (one a line) or JSONL (an object a line with `prompt`, and optionally `negative_prompt` and `seed`).
import { readFileSync } from 'node:fs';
import { DrmError } from '../../binding/error.js';

export interface Prompt {
  prompt: string;
  negativePrompt?: string;
  seed?: bigint;
}

const bad = (file: string, line: number, what: string): DrmError =>
  new DrmError('BAD_FILE', `[prompts] ${file}, line ${line}: ${what}`, { file, line: String(line) });

function fromObject(value: unknown, file: string, line: number): Prompt {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad(file, line, 'expected an object with a "prompt"');
  const { prompt, negative_prompt: negative, seed } = value as Record<string, unknown>;
  if (typeof prompt !== 'string')
    throw bad(file, line, `expected a text as "prompt", found ${JSON.stringify(prompt) ?? 'none'}`);
  if (negative !== undefined && typeof negative !== 'string')
    throw bad(file, line, 'expected a text as "negative_prompt"');
  if (seed !== undefined && !(Number.isSafeInteger(seed) && (seed as number) >= 0))
    throw bad(file, line, 'expected a whole number from 0 as "seed"');
  return {
    prompt,
    ...(negative !== undefined && { negativePrompt: negative }),
    ...(seed !== undefined && { seed: BigInt(seed as number) }),
  };
}

/**
 * Reads a prompt file. Files that end in .jsonl, or whose first line is an object, are JSONL; in others each line is a
 * prompt as it stands. Empty lines are passed over and counted. Throws DrmError BAD_FILE with the line.
 */
export function readPrompts(file: string): { prompts: Prompt[]; blank: number } {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file));
  } catch (error) {
    const why =
      error instanceof TypeError ? 'expected UTF-8 text' : `expected a readable file (${(error as Error).message})`;
    throw new DrmError('BAD_FILE', `[prompts] ${file}: ${why}; give one prompt a line, or JSONL`, { file });
  }
  const lines = text.split(/\r\n|\n|\r/);
  const filled = lines.map((line, i) => ({ line, number: i + 1 })).filter(({ line }) => line.trim() !== '');
  const jsonl = file.endsWith('.jsonl') || filled[0]?.line.trimStart().startsWith('{') === true;
  const prompts = filled.map(({ line, number }): Prompt => {
    if (!jsonl) return { prompt: line.trim() };
    try {
      return fromObject(JSON.parse(line), file, number);
    } catch (error) {
      throw error instanceof DrmError ? error : bad(file, number, `expected JSON (${(error as Error).message})`);
    }
  });
  if (prompts.length === 0)
    throw new DrmError('BAD_FILE', `[prompts] ${file}: expected at least one prompt, found none`, { file });
  return { prompts, blank: lines.length - filled.length - (text.endsWith('\n') ? 1 : 0) };
}
