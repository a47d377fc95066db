// A training task whose steps are the core's: what VAE, CLIP and flow have in common.
import { join } from 'node:path';
import type { Trainer } from '../../../binding/index.js';
import type { TrainBatch } from '../../../binding/types.js';
import type { TrainingTask, Values } from '../training_task.js';

export const STATE = 'state.safetensors';

export abstract class NativeTask<Batch> implements TrainingTask<Batch> {
  constructor(protected readonly trainer: Trainer) {}

  get savesTogether(): boolean {
    return this.trainer.spread;
  }

  /** The passes of one step. */
  abstract batches(batch: Batch): TrainBatch[];

  step(index: number, batch: Batch, learningRate: number): Promise<Values> {
    return this.trainer.step({ index, learningRate, batches: this.batches(batch) });
  }

  save(folder: string): Promise<void> {
    return this.trainer.save(join(folder, STATE));
  }

  restore(folder: string): Promise<void> {
    return this.trainer.restore(join(folder, STATE));
  }
}
