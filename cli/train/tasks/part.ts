// What training VAE and CLIP have in common: one network with a config of its own, from images of a prepared set.
import type { Trainer } from '../../../binding/index.js';
import type { PretrainClipSettings, PretrainVaeSettings } from '../../config/types.js';
import type { Batch } from '../../data/load/loader.js';
import { type Prepared, type TaskContext, trainerOptions } from '../run.js';
import type { TrainingTask } from '../training_task.js';
import { closing, ImageData, imageWarnings, type Sets } from './images.js';

interface Part<Settings> {
  kind: 'vae' | 'clip';
  /** The network's config.json. */
  config: string;
  settings: Settings;
  sets: Sets;
  task(trainer: Trainer, warn: (message: string) => void): TrainingTask<Batch>;
}

export async function preparePart<Settings extends PretrainVaeSettings | PretrainClipSettings>(
  { kind, config, settings, sets, task }: Part<Settings>,
  { events, device, dtype, signal, team }: TaskContext,
): Promise<Prepared> {
  const warn = imageWarnings(events);
  const { Trainer } = await import('../../../binding/index.js');
  const trainer = await Trainer.create(
    { kind, config, weights: settings.weights === '' ? [] : [settings.weights], settings },
    trainerOptions(settings, device, dtype),
    { signal, group: team.group },
  );
  const { train, heldOut } = sets;
  return {
    task: task(trainer, warn),
    data: new ImageData(train, settings, warn, team),
    steps: settings.steps,
    facts: { parameters: trainer.parameters, images: train.length, size: settings.size },
    close: closing(trainer, train, heldOut),
  };
}
