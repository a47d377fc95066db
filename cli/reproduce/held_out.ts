// The prompts of the images of Tables 3 and 4: the first so many that no policy has learned from, as a file of their own, whose
// name has their content's hash.
import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { writeAtomically } from '../common/files.js';
import type { ReproduceSettings } from '../config/types.js';
import { promptLists } from '../grpo/prompts.js';
import { resolveModel } from '../hub/resolve.js';

export interface HeldOutPrompts {
  count: number;
  /** Within the chain's folder. */
  name: string;
  text: string;
}

/** Throws DrmError where the list, or the model that brings it, is not here. */
export async function heldOutPrompts({ model, prompts, held_out: most }: ReproduceSettings): Promise<HeldOutPrompts> {
  const own = async () => {
    const [weights = ''] = (await resolveModel(model)).source.transformer.weights;
    return dirname(dirname(weights));
  };
  const lists = promptLists(
    { prompts, model, evaluate_prompts: '', evaluate_every: 1 },
    prompts === '' ? await own() : undefined,
    { info: () => {}, warn: () => {} }, // `drm grpo` says so itself
  );
  if (!lists.heldOut)
    throw new DrmError(
      'BAD_FILE',
      `[reproduce] ${lists.file}: expected a list of held-out prompts beside it (test.txt), found none; Tables 3 and 4 are of those`,
      { file: lists.file },
    );
  const chosen = lists.heldOut.prompts.slice(0, most || undefined);
  const text = chosen.map((prompt) => `${JSON.stringify({ prompt })}\n`).join('');
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 8);
  return { count: chosen.length, name: `prompts-${hash}.jsonl`, text };
}

/** What stands for them where they are not known, in plans. */
export const unknownPrompts = ({ held_out: count }: ReproduceSettings): HeldOutPrompts => ({
  ...{ count, name: 'prompts-….jsonl', text: '' },
});

export const writePrompts = (folder: string, { name, text }: HeldOutPrompts): Promise<void> =>
  writeAtomically(join(folder, name), text);
