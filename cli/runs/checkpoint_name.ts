// Checkpoints by name: RUN@STEP, RUN@latest, RUN/checkpoints/STEP, or a run that has no result yet.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { type Checkpoint, checkpointSteps, openCheckpoint } from './checkpoints.js';

export interface CheckpointName {
  run: string;
  /** Undefined: the latest. */
  step: number | undefined;
}

const stepsOf = (run: string): Promise<number[]> => checkpointSteps(join(run, 'checkpoints'));

/** The checkpoint that a name means, or undefined where it means something else. */
export async function checkpointNamed(name: string): Promise<CheckpointName | undefined> {
  const at = /^(.+)@(\d+|latest)$/.exec(name);
  if (at && !existsSync(name) && existsSync(join(at[1] as string, 'checkpoints')))
    return { run: at[1] as string, step: at[2] === 'latest' ? undefined : Number(at[2]) };
  const path = resolve(name);
  if (existsSync(join(path, 'checkpoint.json')) && /^\d+$/.test(basename(path)))
    return { run: dirname(dirname(path)), step: Number(basename(path)) };
  if (!existsSync(join(path, 'config.json')) || existsSync(join(path, 'model'))) return undefined;
  return (await stepsOf(path)).length > 0 ? { run: path, step: undefined } : undefined;
}

/** Whole, as it was written. `part` is for messages. Throws DrmError BAD_FILE for a step without one, and a damaged one. */
export async function openNamed({ run, step }: CheckpointName, part: string): Promise<Checkpoint> {
  const fail = (what: string): DrmError => new DrmError('BAD_FILE', `[${part}] ${run}: ${what}`, { folder: run });
  const steps = await stepsOf(run);
  const at = step ?? steps.at(-1);
  if (at === undefined) throw fail('expected a checkpoint, found none yet');
  if (!steps.includes(at))
    throw fail(`expected a checkpoint of step ${at}, found ${steps.join(', ')}; name one of those as RUN@STEP`);
  return openCheckpoint(join(run, 'checkpoints', String(at)));
}

let scratch: string | undefined;

/** A folder of this process, which goes with it: for what is made of checkpoints. */
export function scratchFolder(): string {
  if (scratch === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'drm-checkpoint-'));
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
    scratch = made;
  }
  return scratch;
}
