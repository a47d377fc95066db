// A reward model's steps, its accuracy on held-out pairs, and the folder that is written at the end.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Trainer } from '../../../binding/index.js';
import type { TrainBatch } from '../../../binding/types.js';
import { writeAtomically } from '../../common/files.js';
import { VERSION } from '../../common/version.js';
import type { TrainSettings } from '../../config/types.js';
import type { PairPass } from '../../data/load/pair_loader.js';
import { weightsHash } from '../../hub/fingerprint.js';
import { DRM_CLASS, type RewardDescription } from '../../rewards/describe.js';
import { METRICS_FILE, readMetrics } from '../../runs/metrics.js';
import type { Values } from '../training_task.js';
import { PairTask } from './pair_task.js';
import type { PairForm, PairParts } from './pairs.js';
import type { RewardPlan } from './reward_plan.js';
import type { Texts } from './texts.js';

export class RewardTask extends PairTask {
  constructor(
    trainer: Trainer,
    private readonly settings: TrainSettings,
    private readonly plan: RewardPlan,
    private readonly parts: PairParts,
    form: PairForm,
    private readonly texts: Pick<Texts, 'row'> | undefined,
  ) {
    super(trainer, settings, form, parts.heldOut);
  }

  protected given({ captions, ...pass }: PairPass): TrainBatch {
    return this.texts ? { ...pass, texts: captions.map((caption) => this.texts?.row(caption) as number) } : pass;
  }

  async finish(runFolder: string, signal: AbortSignal): Promise<Record<string, string | number>> {
    const { settings, trainer, plan, parts } = this;
    const model = join(runFolder, 'model');
    let evaluation: { step: number; values: Values } | undefined;
    for await (const event of readMetrics(join(runFolder, METRICS_FILE)))
      if (event.event === 'evaluation') evaluation = { step: event.step, values: event.values };
    const training = { pairs: parts.train.length, ...(evaluation && { evaluation }) };
    await writeReward(model, trainer, { settings, plan, training }, signal);
    return { model, parameters: trainer.parameters };
  }
}

/** The folder of a reward model with the trainer's weights. */
export async function writeReward(
  folder: string,
  trainer: Trainer,
  { settings: s, plan, training }: { settings: TrainSettings; plan: RewardPlan; training: object },
  signal: AbortSignal,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const config: RewardDescription = {
    _class_name: DRM_CLASS,
    base: s.model,
    base_vae_sha256: await weightsHash(plan.base.source.vae),
    backbone: plan.backbone,
    keep_layers: plan.keepLayers,
    head: plan.head,
    t5_length: s.t5_length,
    size: s.size,
    training: { drm: VERSION, ...training, settings: s },
  };
  await trainer.export(join(folder, 'model.safetensors'), s.export_dtype, { signal, layout: s.export });
  await writeAtomically(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
}
