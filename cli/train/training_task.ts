// What the loop asks of what is trained: a task, its data, and when to do what.
import type { KeepRule } from '../runs/checkpoints.js';
import type { RateOptions } from './rate.js';

export type Values = Record<string, number>;

export interface TrainingTask<Batch> {
  /**
   * One step, `index` from 0. The values are shown and kept; `loss` is one of them. When the loss, `grad_norm` or `reward`
   * is not finite, it says so by its value or by rejecting with NOT_FINITE, and leaves parameters and optimizer as they
   * were: the loop decides whether the run goes on. Of a process alone, one that has changed nothing yet may reject with
   * CANCELLED after a signal: the resumed run does it again.
   */
  step(index: number, batch: Batch, learningRate: number): Promise<Values>;
  /** Figures on held-out data after `steps` steps. A signal may end it with CANCELLED: the resumed run does it again. */
  evaluate?(steps: number, signal: AbortSignal): Promise<Values>;
  /** Makes images in a folder that is there; returns their paths, the one to show first. A signal may end it likewise. */
  preview?(steps: number, folder: string, signal: AbortSignal): Promise<string[]>;
  /** Why the run should end here, well before all steps are done; asked after each step and what it brought. */
  ended?(): string | undefined;
  /** Writes all that restore() needs into an empty folder. The loop makes it durable and checks it on the way back. */
  save(folder: string): Promise<void>;
  restore(folder: string): Promise<void>;
  /** Whether save() takes all processes, since each has a part of the state. */
  readonly savesTogether?: boolean;
  /**
   * Writes what the run was for (exported weights) into the run's folder; returns facts for the last line. A signal may end
   * it with CANCELLED: resuming a run whose steps are done does it again.
   */
  finish?(runFolder: string, signal: AbortSignal): Promise<Record<string, string | number>>;
}

export interface TrainingData<Batch> {
  /** What a sample is called in the figures; 'sample' where nothing is said. */
  readonly unit?: string;
  /** The batch of step `index`, whatever was asked for before. `waitedSeconds`: how long it was not there yet. */
  next(index: number): Promise<{ batch: Batch; samples: number; waitedSeconds: number }>;
  /** Worth saying on the last line, such as how many samples could not be used. */
  facts?(): Record<string, string | number>;
  close(): Promise<void> | void;
}

export interface TrainingOptions {
  /** Steps in all. */
  steps: number;
  rate: RateOptions;
  /** Steps between metric events. */
  logEvery: number;
  /** Steps between evaluations, previews and checkpoints; 0 is never. The last step has each of them that is on. */
  evaluateEvery: number;
  previewEvery: number;
  checkpointEvery: number;
  /** An evaluation and a preview before the first step, too, where they are on: what there was to begin with. */
  evaluateFirst?: boolean;
  /** Minutes after which a checkpoint is due in any case; 0 is never. The last step always has one. */
  checkpointMinutes: number;
  keep: KeepRule;
  /** Steps of the whole run that may be skipped because their loss or gradient is not finite. */
  skipNotFinite: number;
  /** What to type to go on after an interruption. */
  resumeCommand: string;
}

export interface TrainingSummary {
  steps: number;
  samples: number;
  /** Of training, earlier sittings included. */
  seconds: number;
  checkpoint: string;
  facts: Record<string, string | number>;
}
