// A training task whose steps are the core's: what VAE, CLIP and flow have in common.
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import type { Trainer } from '../../../binding/index.js';
import type { TrainBatch } from '../../../binding/types.js';
import type { TrainingTask, Values } from '../loop.js';

const STATE = 'state.safetensors';

export abstract class NativeTask<Batch> implements TrainingTask<Batch> {
  constructor(protected readonly trainer: Trainer) {}

  /** The passes of one step. */
  abstract batches(batch: Batch): TrainBatch[];

  async step(index: number, batch: Batch, learningRate: number): Promise<Values> {
    try {
      return await this.trainer.step({ index, learningRate, batches: this.batches(batch) });
    } catch (error) {
      // The loop decides whether a step may be skipped; the weights are as they were.
      if (error instanceof DrmError && error.code === 'NOT_FINITE') return { loss: Number.NaN };
      throw error;
    }
  }

  save(folder: string): Promise<void> {
    return this.trainer.save(join(folder, STATE));
  }

  restore(folder: string): Promise<void> {
    return this.trainer.restore(join(folder, STATE));
  }
}
