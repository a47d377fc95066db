// A task whose steps are passes of pairs: what reward models and scorers of finished images have in common.
import type { Trainer } from '../../../binding/index.js';
import type { TrainBatch } from '../../../binding/types.js';
import type { PairBatch, PairPass } from '../../data/load/pair_loader.js';
import type { Values } from '../training_task.js';
import { meanValues } from './images.js';
import { NativeTask } from './native.js';
import { type PairForm, type PairPart, type PairSettings, passesOf } from './pairs.js';

export abstract class PairTask extends NativeTask<PairBatch> {
  /** Absent where nothing is held out. */
  evaluate?: (steps: number, signal: AbortSignal) => Promise<Values>;

  constructor(
    trainer: Trainer,
    private readonly sizes: Pick<PairSettings, 'batch' | 'evaluate_samples'>,
    private readonly form: PairForm,
    heldOut: PairPart | undefined,
  ) {
    super(trainer);
    if (heldOut) this.evaluate = (_steps, signal) => this.#evaluate(heldOut, signal);
  }

  /** A pass as the trainer takes it. */
  protected abstract given(pass: PairPass): TrainBatch;

  batches(batch: PairBatch): TrainBatch[] {
    return batch.passes.map((pass) => this.given(pass));
  }

  #evaluate(heldOut: PairPart, signal: AbortSignal): Promise<Values> {
    const { sizes, form, trainer } = this;
    const part = heldOut.first(sizes.evaluate_samples);
    const given = this.given.bind(this);
    const batches = async function* () {
      for await (const pass of passesOf(part, { ...form, pass: form.pass || sizes.batch })) yield given(pass);
    };
    return meanValues(batches(), (batch) => trainer.evaluate(batch, { signal }));
  }
}
