// Cases that the C++ executable recomputes.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadTokenizers } from '../../cli/text/tokenizer.js';
import type { Comparison } from './report.js';

const executable = resolve(dirname(fileURLToPath(import.meta.url)), '../../../build/core/drm_parity');

interface PipelineFacts {
  prompts: string[];
  negative_prompts: string[];
  second_t5_length: number;
}

/** The token ids that the pipeline case's prompts have under its own tokenizers. */
async function pipelineTokens(folder: string, facts: PipelineFacts): Promise<unknown> {
  const tokenizer = loadTokenizers({
    clipL: join(folder, 'tokenizer'),
    clipG: join(folder, 'tokenizer_2'),
    t5: join(folder, 'tokenizer_3'),
  });
  const ids = (list: BigInt64Array) => Array.from(list, Number);
  const rows = (prompts: string[], t5Length: number) =>
    Promise.all(
      prompts.map(async (prompt) => {
        const { tokens } = await tokenizer.encode(prompt, t5Length);
        return { clip_l: ids(tokens.clipL), clip_g: ids(tokens.clipG), t5: ids(tokens.t5) };
      }),
    );
  return {
    prompts: await rows(facts.prompts, 256),
    negatives: await rows(facts.negative_prompts, 256),
    prompts_second_length: await rows(facts.prompts, facts.second_t5_length),
  };
}

export async function checkNative(folder: string, root: string): Promise<Comparison[]> {
  const { case: kind, facts } = JSON.parse(readFileSync(join(folder, 'case.json'), 'utf8')) as {
    case?: string;
    facts: PipelineFacts;
  };
  const scratch = mkdtempSync(join(tmpdir(), 'drm-parity-'));
  try {
    const tokens = join(scratch, 'tokens.json');
    if (kind === 'pipeline') writeFileSync(tokens, JSON.stringify(await pipelineTokens(folder, facts)));
    const output = execFileSync(executable, [kind ?? basename(folder), folder, root, tokens], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return output
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Comparison);
  } catch (error) {
    const stderr = (error as { stderr?: string }).stderr;
    throw new Error(stderr?.trim() || (error as Error).message);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
