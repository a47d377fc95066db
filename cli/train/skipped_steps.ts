// The steps of a run that were left out because a figure of theirs was not finite, and how many of them may be.
import { DrmError } from '../../binding/error.js';
import type { Events } from '../common/events.js';
import type { LoopCheckpoints } from './loop_checkpoints.js';
import type { TrainingOptions } from './training_task.js';

export class SkippedSteps {
  /** Of the whole run. */
  count = 0;

  constructor(
    private readonly options: Pick<TrainingOptions, 'skipNotFinite' | 'resumeCommand'>,
    private readonly events: Events,
  ) {}

  /** Throws DrmError NOT_FINITE when no more steps may be skipped. */
  add(step: number, name: string, value: number | undefined, saved: Pick<LoopCheckpoints, 'lastGood' | 'path'>): void {
    const { skipNotFinite, resumeCommand } = this.options;
    const what = `step ${step}: ${name} is ${value}`;
    if (this.count >= skipNotFinite)
      throw new DrmError(
        'NOT_FINITE',
        `[train] ${what}${skipNotFinite > 0 ? `, after ${this.count} skipped steps` : ''}; ${saved.lastGood}. ${name === 'reward' ? 'See whether the reward can score such images' : 'Lower the learning rate or clip gradients harder in a new run'}, or let such steps be skipped: ${resumeCommand} --set skip_not_finite=${skipNotFinite + 10}`,
        { step: String(step), name, found: String(value), checkpoint: saved.path },
      );
    this.count += 1;
    this.events.emit({
      event: 'warning',
      message: `${what}; the step is skipped (${this.count} of ${skipNotFinite} that may be)`,
    });
  }
}
