// What commands plan for themselves: `drm grpo --plan` says what a run takes, once its reward model is there.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { number, objectOf } from '../common/shape.js';
import type { ChainFolder } from './folder.js';
import { runStep } from './run_step.js';
import type { Step } from './step.js';

const PLAN = objectOf({ seconds: number });

interface Asking {
  program: readonly string[];
  words: readonly string[];
  signal: AbortSignal;
}

const isSame = (a: Step, b: Step): boolean => a.kind === b.kind && a.units === b.units;

/** Seconds of policies that could be trained now, by step; where one of the kind is done, that says more. */
export async function plannedSeconds(
  steps: readonly Step[],
  folder: ChainFolder,
  { program, words, signal }: Asking,
): Promise<Map<string, number>> {
  const planned = new Map<string, number>();
  const policies = steps.filter(({ kind }) => kind === 'policy');
  if (policies.some((step) => folder.look(step).state === 'done')) return planned;
  const aside = mkdtempSync(join(tmpdir(), 'drm-plan-'));
  try {
    for (const step of policies) {
      const state = folder.look(step);
      if (state.stamp === undefined) continue;
      const like = policies.find((one) => planned.has(one.id) && isSame(one, step)); // another seed
      if (like) {
        planned.set(step.id, planned.get(like.id) as number);
        continue;
      }
      const argv = [...folder.argvOf(step, state).slice(0, -2), ...words, '--plan'];
      const { code, result } = await runStep({ program, argv, log: join(aside, 'log'), signal, onProgress: () => {} });
      const seconds = code === 0 ? secondsOf(result) : undefined;
      if (seconds !== undefined) planned.set(step.id, seconds);
    }
    return planned;
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}

function secondsOf(result: unknown): number | undefined {
  try {
    return PLAN(result, '').seconds;
  } catch {
    return undefined;
  }
}
