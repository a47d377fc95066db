// Cases that the C++ executable recomputes.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadTokenizers } from '../../cli/text/tokenizer.js';
import type { Comparison } from './report.js';

const executable = resolve(dirname(fileURLToPath(import.meta.url)), '../../../build/core/drm_parity');

export interface PipelineCase {
  facts: { prompts: string[]; negative_prompts: string[]; second_t5_length: number };
  tensors: Record<string, { shape: number[] }>;
}

/** Tokens of T5 in the stored prompt embeds: those that are not CLIP's. */
export const t5Length = ({ tensors }: Pick<PipelineCase, 'tensors'>, { clipLength }: { clipLength: number }): number =>
  (tensors.prompt_embeds?.shape[1] ?? 0) - clipLength;

/** The token ids that the pipeline case's prompts have under its own tokenizers. */
export async function pipelineTokens(folder: string, stored: PipelineCase): Promise<unknown> {
  const { facts } = stored;
  const tokenizer = loadTokenizers({
    clipL: join(folder, 'tokenizer'),
    clipG: join(folder, 'tokenizer_2'),
    t5: join(folder, 'tokenizer_3'),
  });
  const ids = (list: BigInt64Array) => Array.from(list, Number);
  const rows = (prompts: string[], length: number) =>
    Promise.all(
      prompts.map(async (prompt) => {
        const { tokens } = await tokenizer.encode(prompt, length);
        return { clip_l: ids(tokens.clipL), clip_g: ids(tokens.clipG), t5: ids(tokens.t5) };
      }),
    );
  return {
    prompts: await rows(facts.prompts, t5Length(stored, tokenizer)),
    negatives: await rows(facts.negative_prompts, t5Length(stored, tokenizer)),
    prompts_second_length: await rows(facts.prompts, facts.second_t5_length),
  };
}

export async function checkNative(folder: string, root: string): Promise<Comparison[]> {
  const document = ['case.json', 'config.json'].map((file) => join(folder, file)).find(existsSync);
  if (!document) throw new Error(`${folder}: expected case.json or config.json, found neither`);
  const stated = JSON.parse(readFileSync(document, 'utf8')) as PipelineCase & { case?: string };
  const kind = stated.case ?? basename(folder);
  const scratch = mkdtempSync(join(tmpdir(), 'drm-parity-'));
  try {
    const tokens = join(scratch, 'tokens.json');
    if (kind === 'pipeline') writeFileSync(tokens, JSON.stringify(await pipelineTokens(folder, stated)));
    const output = execFileSync(executable, [kind, folder, root, tokens], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return output
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Comparison);
  } catch (error) {
    const { stderr, signal, message } = error as Error & { stderr?: string; signal?: string };
    throw new Error(stderr?.trim() || (signal ? `drm_parity ended by ${signal}` : message));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
