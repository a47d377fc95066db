// What a chain needs that is not on this machine: all of it at once, with how to get each, before anything is run.
import { existsSync } from 'node:fs';
import { DrmError } from '../../binding/error.js';
import type { ReproduceSettings } from '../config/types.js';
import { resolveModel } from '../hub/resolve.js';
import { findDistance } from '../rewards/distances.js';
import { findJudge, findReward } from '../rewards/registry.js';
import type { Step } from './step.js';

type Find = (name: string) => unknown;

/** Flags whose value is something to be found, and how it is. */
const FLAGS: Readonly<Record<string, Find>> = {
  '--model': (name) => resolveModel(name),
  '--reward': findReward,
  '--scorer': findJudge,
  '--diversity': findDistance,
};
/** Likewise of settings, `--set judge=pickscore`. */
const SETTINGS: Readonly<Record<string, Find>> = { judge: findJudge };

/** What such words name, step results and the file of prompts apart: those stand in brackets that no name has. */
function named(step: Step): { name: string; find: Find }[] {
  const words = step.words({ folder: () => '\0', prompts: '\0' });
  return words.flatMap((word, i) => {
    const [key = '', value = ''] = word.split(/=(.*)/s);
    const ofFlag = FLAGS[words[i - 1] ?? ''];
    const ofSetting = words[i - 1] === '--set' ? SETTINGS[key] : undefined;
    if (word.includes('\0')) return [];
    if (ofFlag) return [{ name: word, find: ofFlag }];
    return ofSetting && value !== '' ? [{ name: value, find: ofSetting }] : [];
  });
}

const partsOf = (step: Step): string[] =>
  step.words({ folder: () => '\0', prompts: '\0' }).flatMap((word) => [word, ...word.split(/[=:]/)]);

/** A sentence for everything that these steps need and that is not here. */
export async function missingInputs(steps: readonly Step[], { inputs }: ReproduceSettings): Promise<string[]> {
  const missing = new Set<string>();
  const parts = new Set(steps.flatMap(partsOf));
  for (const [path, how] of Object.entries(inputs))
    if (parts.has(path) && !existsSync(path)) missing.add(`${path}: expected this file or folder, found none; ${how}`);
  for (const { name, find } of steps.flatMap(named))
    try {
      await find(name);
    } catch (error) {
      if (!(error instanceof DrmError)) throw error;
      missing.add(error.message);
    }
  return [...missing];
}

/** Throws DrmError MISSING_WEIGHTS naming all of them. */
export function expectInputs(missing: readonly string[]): void {
  if (missing.length === 0) return;
  const list = missing.map((one) => `  - ${one}`);
  throw new DrmError(
    'MISSING_WEIGHTS',
    `[reproduce] expected all that the steps need, found ${missing.length} of it missing; nothing has been run:\n${list.join('\n')}`,
  );
}
