// What a judge said of a setting's images, kept beside them: an evaluation that was stopped does not judge again what is
// judged, and a scorer that was added later is the only one that runs.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolder, writeAtomically } from '../common/files.js';
import { isObject, parseJson, readShaped } from '../common/json.js';
import { listOf, number, objectOf, text } from '../common/shape.js';
import { slug } from '../image/write.js';
import { CLEAN, type Reward } from '../rewards/reward.js';
import type { Judgement } from './judge.js';

/** Of the form below: a later version with another does not read it. */
const FORM = 1;

/** Other images, prompts, weights or units are another judgement. */
function keyOf(reward: Reward, files: readonly string[], prompts: readonly string[]): string {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([FORM, reward.name, reward.weights, reward.unit, reward.definitions(CLEAN), prompts]));
  for (const file of files) hash.update(createHash('sha256').update(readFileSync(file)).digest());
  return hash.digest('hex');
}

function readJudgement(file: string, key: string): Judgement | undefined {
  if (!existsSync(file)) return undefined;
  try {
    const found = parseJson(readFileSync(file, 'utf8'));
    return isObject(found) && found.key === key ? (found.judgement as unknown as Judgement) : undefined;
  } catch {
    return undefined; // cut off: judged again
  }
}

const SCORES = objectOf({ scorer: text, judgement: objectOf({ score: listOf(listOf(number)) }) });

/** By scorer, the scores of a setting's images, prompt by prompt. Throws DrmError BAD_FILE. */
export function keptScores(folder: string): Map<string, number[][]> {
  const kept = join(folder, 'judged');
  const files = existsSync(kept) ? readdirSync(kept).filter((name) => name.endsWith('.json')) : [];
  const read = files.map((name) => readShaped(join(kept, name), SCORES, { part: 'eval' }));
  return new Map(read.map(({ scorer, judgement }) => [scorer, judgement.score]));
}

/** The judgement of an earlier run on the same images by the same weights, or `judge`'s, which is kept. */
export async function judgedOnce(
  folder: string,
  { reward, files, prompts }: { reward: Reward; files: readonly string[]; prompts: readonly string[] },
  judge: () => Promise<Judgement>,
): Promise<Judgement> {
  const key = keyOf(reward, files, prompts);
  const file = join(folder, 'judged', `${slug(reward.name).slice(-40)}-${key.slice(0, 8)}.json`);
  const known = readJudgement(file, key);
  if (known) return known;
  const judgement = await judge();
  await makeFolder(join(folder, 'judged'));
  await writeAtomically(file, `${JSON.stringify({ scorer: reward.name, key, judgement })}\n`);
  return judgement;
}
