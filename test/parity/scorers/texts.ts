// CLIP's token ids under both cleanings (text.json), as the published merges give them. Those are not stored whole: a cut tokenizer,
// with the bytes and the merges that these very prompts need under their published ids, knows them; DRM_CLIP_TOKENIZER names a
// folder with the real vocab.json and merges.txt, which knows all.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../../cli/common/root.js';
import { type ClipTextStyle, clipRow } from '../../../cli/text/clip_rows.js';
import { MPS_CONDITION } from '../../../cli/text/mps_condition.js';
import { Tokenizer } from '../../../cli/text/tokenizer.js';
import type { Comparison } from '../report.js';
import { largestDifference } from '../safetensors.js';

interface ClipTexts {
  merge_file_sha256: string;
  prompts: string[];
  context: number;
  open_clip: number[][];
  transformers: number[][];
}

interface Cut {
  merge_file_sha256: string;
  prompts: string[];
  condition: number[];
}

export async function checkClipTexts(folder: string): Promise<Comparison[]> {
  const file = join(folder, 'text.json');
  if (!existsSync(file)) return [];
  const { clip } = JSON.parse(readFileSync(file, 'utf8')) as { clip?: ClipTexts };
  if (!clip) return [];
  const cutFolder = join(packageRoot, 'test/golden/scorers/tokenizers/clip_cut');
  const cut = JSON.parse(readFileSync(join(cutFolder, 'cut.json'), 'utf8')) as Cut;
  const whole = process.env.DRM_CLIP_TOKENIZER;
  if (whole === undefined && clip.merge_file_sha256 !== cut.merge_file_sha256)
    return [{ tensor: 'clip texts', note: 'expected ids of the published merges, found those of other ones' }];
  const known = (prompt: string) => whole !== undefined || cut.prompts.includes(prompt);
  const skipped = clip.prompts.filter((prompt) => !known(prompt)).length;
  if (skipped > 0)
    console.log(
      `          clip texts: ${skipped} of ${clip.prompts.length} prompts not checked: set DRM_CLIP_TOKENIZER to a folder with CLIP's vocab.json and merges.txt`,
    );
  const tokenizer = Tokenizer.fromFolder(whole ?? cutFolder);
  const all: Comparison[] = [];
  const styles: ClipTextStyle[] = ['open_clip', 'transformers'];
  for (const [i, prompt] of clip.prompts.entries()) {
    if (!known(prompt)) continue;
    for (const style of styles) {
      const { ids } = await clipRow(tokenizer, prompt, clip.context, style);
      all.push({
        tensor: `clip text ${i}, ${style}`,
        error: largestDifference(ids, clip[style][i] ?? []),
        atol: 0,
      });
    }
  }
  const condition = await tokenizer.ids(MPS_CONDITION);
  all.push({ tensor: 'the condition of MPS', error: largestDifference(condition, cut.condition), atol: 0 });
  await tokenizer.dispose();
  return all;
}
