// The checkpoints that a loop writes: what of them is the loop's, which one is the last, when one is due by the clock.
import { DrmError } from '../../binding/error.js';
import type { Events } from '../common/events.js';
import type { LoopRun } from '../parallel/follower.js';
import type { MeterState } from './meter.js';
import type { TrainingOptions } from './training_task.js';

/** The loop's part of a checkpoint. */
export interface LoopState {
  skipped: number;
  meter: MeterState;
  /** An interruption came before these could be done. */
  owed: { evaluation: boolean; preview: boolean };
  /** That trained up to here. */
  processes?: number;
}

export class LoopCheckpoints {
  #last: { step: number; path: string; time: number } | undefined;

  constructor(
    private readonly run: LoopRun,
    private readonly task: { save(folder: string): Promise<void> },
    private readonly options: Pick<TrainingOptions, 'checkpointMinutes' | 'keep' | 'resumeCommand'>,
    private readonly events: Events,
  ) {}

  /** Of the last one; undefined before the first. */
  get step(): number | undefined {
    return this.#last?.step;
  }

  /** Of the last one; empty before the first. */
  get path(): string {
    return this.#last?.path ?? '';
  }

  /** For the end of an error's sentence. */
  get lastGood(): string {
    return this.#last
      ? `the last good checkpoint is ${this.#last.path}`
      : 'no checkpoint had been written yet, so the run would begin anew';
  }

  /** The run goes on from this one. */
  resumed(step: number, path: string): void {
    this.#last = { step, path, time: performance.now() };
  }

  /** Whether one is due by the clock; `startedAt`: when training began, as performance.now() tells. */
  isLate(startedAt: number): boolean {
    const { checkpointMinutes } = this.options;
    const since = performance.now() - (this.#last?.time ?? startedAt);
    return checkpointMinutes > 0 && since >= checkpointMinutes * 60_000;
  }

  /** Throws DrmError, with the checkpoint that is intact in its words. */
  async write(step: number, state: LoopState): Promise<void> {
    try {
      const path = await this.run.checkpoint(step, { ...state }, (folder) => this.task.save(folder));
      this.#last = { step, path, time: performance.now() };
    } catch (error) {
      if (!(error instanceof DrmError)) throw error;
      throw new DrmError(
        error.code,
        `${error.message}\n${this.#last ? `the checkpoint of step ${this.#last.step} is intact; then go on from it with: ${this.options.resumeCommand}` : this.lastGood}`,
        { ...error.details, step: String(step), checkpoint: this.path },
        { cause: error },
      );
    }
    this.events.emit({ event: 'checkpoint', step, path: this.path });
    await this.run.checkpoints.prune(this.options.keep, step);
  }
}
