// Token ids of the golden prompts, unpadded (golden.json) and padded as SD3's pipeline asks (io.safetensors).
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer } from '../../cli/text/tokenizer.js';
import type { Comparison } from './report.js';
import { largestDifference, readTensors } from './safetensors.js';

interface Row {
  prompt: string;
  [encoder: string]: number[] | string;
}

const encoders = [
  { key: 'clip_l', folder: 'tokenizer', padded: 'clip_l_' },
  { key: 'clip_g', folder: 'tokenizer_2', padded: 'clip_g_' },
  { key: 't5', folder: 'tokenizer_3', padded: 't5_' },
];

export async function checkTokenizers(folder: string): Promise<Comparison[]> {
  const rows = JSON.parse(readFileSync(join(folder, 'golden.json'), 'utf8')) as Row[];
  const stored = readTensors(join(folder, 'io.safetensors'));
  const comparisons: Comparison[] = [];
  for (const { key, folder: name, padded } of encoders) {
    const target = [...stored.keys()].find((tensor) => tensor.startsWith(padded));
    const expected = target ? stored.get(target) : undefined;
    const length = expected?.shape[1];
    if (!target || !expected || !length)
      throw new Error(`${folder}/io.safetensors: expected a tensor ${padded}<length>`);
    const files = join(folder, name);
    if (!existsSync(files)) {
      // The real release's files cannot be stored; what can be checked without them is that padding follows the rule.
      comparisons.push({
        tensor: target,
        error: largestDifference(byRule(rows, key, length), expected.data),
        atol: 0,
        note: 'padding rule only',
      });
      console.log(`          ${key}: ${name}/ is not in ${folder}: ids not checked, only how they are padded`);
      continue;
    }
    const tokenizer = Tokenizer.fromFolder(files);
    const wrong: number[] = [];
    const got: bigint[] = [];
    for (const [i, row] of rows.entries()) {
      if (largestDifference(await tokenizer.ids(row.prompt), row[key] as number[]) !== 0) wrong.push(i);
      got.push(...(await tokenizer.padded(row.prompt, length)).ids);
    }
    comparisons.push({
      tensor: `${key} unpadded`,
      error: wrong.length,
      atol: 0,
      note: wrong.length ? `rows ${wrong.join(', ')}` : '',
    });
    comparisons.push({ tensor: target, error: largestDifference(got, expected.data), atol: 0 });
  }
  return comparisons;
}

/** The padding rule, from the unpadded ids alone: keep the closing token, pad with eos (CLIP-L) or 0. */
function byRule(rows: Row[], key: string, length: number): number[] {
  const pad = key === 'clip_l' ? ((rows[0]?.[key] as number[] | undefined)?.at(-1) ?? 0) : 0;
  return rows.flatMap((row) => {
    const ids = row[key] as number[];
    const kept = ids.length <= length ? ids : [...ids.slice(0, length - 1), ids.at(-1) ?? 0];
    return [...kept, ...Array<number>(length - kept.length).fill(pad)];
  });
}
