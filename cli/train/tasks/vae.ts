// `drm pretrain vae`: an AutoencoderKL from images; the run's model/vae is what diffusers loads.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Trainer } from '../../../binding/index.js';
import type { TrainBatch } from '../../../binding/types.js';
import { writeAtomically } from '../../common/files.js';
import type { PretrainVaeSettings } from '../../config/types.js';
import type { Batch } from '../../data/load/loader.js';
import type { CaptionedSet } from '../../data/prepared/captioned_set.js';
import { readConfig, sizeFitsVae } from '../fit.js';
import { architectureFile } from '../pretrain.js';
import type { Prepared, TaskContext } from '../run.js';
import { batchesOf, meanValues, microBatches, openSets, pixelsOf, type Sets } from './images.js';
import { NativeTask } from './native.js';
import { preparePart } from './part.js';

class VaeTask extends NativeTask<Batch> {
  constructor(
    trainer: Trainer,
    private readonly settings: PretrainVaeSettings,
    private readonly sets: Sets,
    private readonly warn: (message: string) => void,
  ) {
    super(trainer);
  }

  batches(batch: Batch): TrainBatch[] {
    return microBatches(pixelsOf(batch), this.settings.micro_batch);
  }

  async evaluate(_steps: number, signal: AbortSignal): Promise<Record<string, number>> {
    const { psnr = Number.NaN } = await this.#measure(this.sets.heldOut, this.settings.evaluate_samples, signal);
    return { psnr };
  }

  async #measure(set: CaptionedSet, count: number, signal: AbortSignal): Promise<Record<string, number>> {
    const { settings, warn, trainer } = this;
    const batches = async function* () {
      for await (const batch of batchesOf(set, count, settings, warn)) yield pixelsOf(batch);
    };
    return meanValues(batches(), (batch) => trainer.evaluate(batch, { signal }));
  }

  async finish(runFolder: string, signal: AbortSignal): Promise<Record<string, string | number>> {
    const { settings, trainer, sets } = this;
    // The transformer works on latents of mean 0 and deviation 1: measured on the training images.
    const {
      latent_mean: mean = 0,
      latent_square: square = 1,
      psnr: train_psnr = Number.NaN,
    } = await this.#measure(sets.train, sets.train.length, signal);
    const { psnr = Number.NaN } = await this.#measure(sets.heldOut, sets.heldOut.length, signal);
    const folder = join(runFolder, 'model', 'vae');
    await mkdir(folder, { recursive: true });
    const config = readConfig(architectureFile(settings.architecture));
    const factors = { scaling_factor: 1 / Math.sqrt(square - mean ** 2), shift_factor: mean };
    await writeAtomically(join(folder, 'config.json'), `${JSON.stringify({ ...config, ...factors }, null, 2)}\n`);
    await trainer.export(join(folder, 'diffusion_pytorch_model.safetensors'), settings.export_dtype, { signal });
    return { model: folder, parameters: trainer.parameters, psnr, train_psnr, ...factors };
  }
}

export async function prepareVae(settings: PretrainVaeSettings, context: TaskContext): Promise<Prepared> {
  const config = architectureFile(settings.architecture);
  sizeFitsVae(settings.size, config);
  const sets = await openSets(settings);
  return preparePart(
    { kind: 'vae', config, settings, sets, task: (trainer, warn) => new VaeTask(trainer, settings, sets, warn) },
    context,
  );
}
