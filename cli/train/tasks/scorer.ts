// `drm pretrain scorer`: a scorer of finished images from preference pairs. The run's model/ is what `aesthetic` loads: a
// CLIP's image tower with the head that reads its features.
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Trainer } from '../../../binding/index.js';
import type { TrainBatch } from '../../../binding/types.js';
import type { PretrainScorerSettings } from '../../config/types.js';
import type { PairPass } from '../../data/load/pair_loader.js';
import { towerFits } from '../fit.js';
import { architectureFile } from '../pretrain.js';
import { type Prepared, type TaskContext, trainerOptions } from '../run.js';
import { imageWarnings } from './images.js';
import { PairTask } from './pair_task.js';
import { openPairs, PairData, type PairForm, type PairPart } from './pairs.js';

class ScorerTask extends PairTask {
  constructor(
    trainer: Trainer,
    private readonly settings: PretrainScorerSettings,
    form: PairForm,
    heldOut: PairPart | undefined,
  ) {
    super(trainer, settings, form, heldOut);
  }

  protected given({ captions: _, ...pass }: PairPass): TrainBatch {
    return pass;
  }

  async finish(runFolder: string, signal: AbortSignal): Promise<Record<string, string | number>> {
    const { settings, trainer } = this;
    const folder = join(runFolder, 'model');
    await mkdir(folder, { recursive: true });
    await copyFile(architectureFile(settings.architecture), join(folder, 'config.json'));
    await trainer.export(join(folder, 'model.safetensors'), settings.export_dtype, { signal });
    return { model: folder, parameters: trainer.parameters, ...(await this.evaluate?.(settings.steps, signal)) };
  }
}

export async function prepareScorer(settings: PretrainScorerSettings, context: TaskContext): Promise<Prepared> {
  const { device, dtype, events, signal, team } = context;
  const { Trainer } = await import('../../../binding/index.js');
  const config = architectureFile(settings.architecture);
  towerFits(settings.size, config);
  const parts = await openPairs(settings, events);
  try {
    const trainer = await Trainer.create(
      { kind: 'scorer', config, weights: settings.weights === '' ? [] : [settings.weights], settings },
      trainerOptions(settings, device, dtype),
      { signal, group: team.group },
    );
    const form: PairForm = {
      ...{ size: settings.size, pass: settings.micro_batch, pixels: true },
      onWarning: imageWarnings(events),
    };
    const { train, heldOut, note } = parts;
    return {
      task: new ScorerTask(trainer, settings, form, heldOut),
      data: new PairData(train, settings, form, team),
      steps: settings.steps,
      facts: {
        ...{ parameters: trainer.parameters, pairs: train.length },
        ...(heldOut && { held_out: heldOut.length, held_out_from: note }),
        size: settings.size,
      },
      close: async () => {
        trainer.dispose();
        await parts.close();
      },
    };
  } catch (error) {
    await parts.close();
    throw error;
  }
}
