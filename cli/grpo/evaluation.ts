// An evaluation of a policy: what is measured and what is shown are of the same images.
import { join } from 'node:path';
import { writeAtomically } from '../common/files.js';
import { wordedSheet } from '../image/sheet.js';
import type { HeldOut, Look } from './held_out.js';
import { phaseProgress } from './phase_progress.js';
import type { PolicyContext } from './policy_parts.js';

/** Images of a sample sheet. */
const SHEET = { images: 16, columns: 4 };

export class Evaluation {
  #last: (Look & { step: number }) | undefined;

  constructor(
    private readonly heldOut: HeldOut,
    private readonly context: Pick<PolicyContext, 'events'>,
  ) {}

  /** Of the policy after `step` iterations; asked again it gives the same. */
  async look(step: number, signal: AbortSignal): Promise<Look> {
    if (this.#last?.step !== step) {
      const total = this.heldOut.prompts.length;
      const progress = phaseProgress(this.context, { label: 'judging', total, unit: 'image' });
      this.#last = { step, ...(await this.heldOut.look(signal, progress)) };
    }
    return this.#last;
  }

  /** Always of the same prompts and seeds, so that the sheets can be laid beside each other. Returns its path. */
  async sheet(step: number, folder: string, signal: AbortSignal): Promise<string> {
    const { images } = await this.look(step, signal);
    const shown = images.slice(0, SHEET.images);
    const sheet = join(folder, 'sheet.png');
    const prompts = this.heldOut.prompts.slice(0, shown.length);
    await writeAtomically(sheet, await wordedSheet(shown, prompts, SHEET.columns));
    await writeAtomically(join(folder, 'prompts.txt'), `${prompts.join('\n')}\n`);
    return sheet;
  }
}
