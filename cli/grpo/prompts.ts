// The prompts that a policy is trained on, and those held out to judge it by.
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import type { GrpoSettings } from '../config/types.js';
import { readPrompts } from '../text/prompts.js';

/** As flow_grpo's dataset folders name them. */
const LISTS = {
  train: ['train.txt', 'train_metadata.jsonl', 'train.jsonl'],
  test: ['test.txt', 'test_metadata.jsonl', 'test.jsonl'],
} as const;

export interface PromptLists {
  file: string;
  /** Each once, in the file's order. */
  train: string[];
  /** Undefined where there is no such list. */
  heldOut: { file: string; prompts: string[] } | undefined;
}

type Say = (message: string) => void;

const isFolder = (path: string) => existsSync(path) && statSync(path).isDirectory();

function listIn(folder: string, which: keyof typeof LISTS): string | undefined {
  return LISTS[which].map((name) => join(folder, name)).find((file) => existsSync(file));
}

/** A file as it is named, or a folder's list. Throws DrmError BAD_FILE for a folder without one. */
function listAt(path: string, which: keyof typeof LISTS): string {
  if (!isFolder(path)) return path;
  const file = listIn(path, which);
  if (file !== undefined) return file;
  throw new DrmError(
    'BAD_FILE',
    `[prompts] ${path}: expected a file of prompts, or a folder with ${LISTS[which].join(', ')}, found a folder without; name the file itself`,
    { file: path },
  );
}

/** Each prompt once. A prompt that comes several times would be a group of its own each time. */
function read(file: string, say: { info: Say; warn: Say }): string[] {
  const { prompts, blank, unread } = readPrompts(file);
  const once = [...new Set(prompts.map(({ prompt }) => prompt))];
  const left = [
    ...(blank > 0 ? [`${blank} empty lines`] : []),
    ...(once.length < prompts.length ? [`${prompts.length - once.length} repetitions`] : []),
  ];
  if (left.length > 0) say.info(`${file}: ${once.length} prompts, ${left.join(' and ')} passed over`);
  const fields = new Set(unread.keys());
  for (const { negativePrompt, seed, settings = {} } of prompts) {
    if (negativePrompt !== undefined) fields.add('negative_prompt');
    if (seed !== undefined) fields.add('seed');
    for (const key of Object.keys(settings)) fields.add(key);
  }
  if (fields.size > 0)
    say.warn(`${file}: fields of its lines that have no meaning in training are not used: ${[...fields].join(', ')}`);
  return once;
}

/**
 * The lists that the settings name, or those that come with the model (in prompts/ of its folder). Throws DrmError USAGE
 * where there are none, BAD_FILE for what is no list.
 */
export function promptLists(
  s: Pick<GrpoSettings, 'prompts' | 'evaluate_prompts' | 'evaluate_every' | 'model'>,
  modelFolder: string | undefined,
  say: { info: Say; warn: Say },
): PromptLists {
  const own = modelFolder === undefined ? '' : join(modelFolder, 'prompts');
  const named = s.prompts || (isFolder(own) ? own : '');
  if (named === '')
    throw new DrmError(
      'USAGE',
      `grpo: expected prompts, and ${s.model} comes with none; give --prompts FILE (one a line, or JSONL with "prompt"), or a folder with train.txt and test.txt`,
    );
  const file = listAt(named, 'train');
  const train = read(file, say);
  if (s.evaluate_every === 0) return { file, train, heldOut: undefined };
  const beside = LISTS.train.some((name) => name === basename(file)) ? listIn(dirname(file), 'test') : undefined;
  const other = s.evaluate_prompts ? listAt(s.evaluate_prompts, 'test') : beside;
  if (other === undefined) {
    say.warn(
      `no prompts are held out, so nothing will tell learning from cheating: give --eval-prompts FILE, or a folder with train.txt and test.txt as --prompts`,
    );
    return { file, train, heldOut: undefined };
  }
  const heldOut = read(other, say);
  const known = new Set(train);
  const shared = heldOut.filter((prompt) => known.has(prompt)).length;
  if (shared > 0)
    say.warn(
      `${shared} of the ${heldOut.length} held-out prompts of ${other} are trained on, too: they are not held out`,
    );
  return { file, train, heldOut: { file: other, prompts: heldOut } };
}
