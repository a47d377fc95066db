// The model of a training as it stood at one of its checkpoints: a reward model of `drm train`, a base of
// `drm pretrain flow`. The checkpoint is read by the trainer that wrote it, and exported as at the end of the run.
import { basename, join, resolve } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import type { PretrainFlowSettings, TrainSettings } from '../../config/types.js';
import { type CheckpointName, openNamed, scratchFolder } from '../../runs/checkpoint_name.js';
import { readRunConfig } from '../../runs/folder.js';
import { trainerOptions } from '../run.js';
import { writeBaseAt } from './flow.js';
import { STATE } from './native.js';
import { plannedObjective, planReward } from './reward_plan.js';
import { writeReward } from './reward_task.js';

export interface CheckpointModel {
  /** Lasts as long as this process. */
  folder: string;
  step: number;
  /** Asked for in all; 0: not known. */
  steps: number;
}

async function writeRewardAt(
  settings: TrainSettings,
  state: string,
  folder: string,
  signal: AbortSignal,
): Promise<void> {
  const plan = await planReward(settings, () => {});
  const { Trainer } = await import('../../../binding/index.js');
  const options = trainerOptions(settings, 'cpu', 'fp32');
  const trainer = await Trainer.create(plannedObjective(settings, plan), options, { signal });
  try {
    await trainer.restore(state);
    await writeReward(folder, trainer, { settings, plan, training: { checkpoint: state } }, signal);
  } finally {
    trainer.dispose();
  }
}

/** Throws DrmError BAD_FILE for a run that trains no model, a step without a checkpoint, and a damaged one. */
export async function writeCheckpointModel(name: CheckpointName, signal: AbortSignal): Promise<CheckpointModel> {
  const { run } = name;
  const { task, settings } = await readRunConfig(run);
  const lora = task === 'grpo' || (task === 'pretrain flow' && Number(settings.lora_rank) > 0);
  if (lora || !['train', 'pretrain flow'].includes(task))
    throw new DrmError(
      'BAD_FILE',
      `[checkpoint] ${run}: expected a run of \`drm train\` or of \`drm pretrain flow\` on all weights, found one of \`drm ${task}\`${lora ? ', which trains an adapter; name it with --lora' : ''}`,
      { folder: run },
    );
  const { folder: checkpoint, step } = await openNamed(name, 'checkpoint');
  const state = join(checkpoint, STATE);
  const folder = join(scratchFolder(), `${basename(resolve(run))}@${step}`);
  // The run's own settings, which were checked when it began.
  if (task === 'train') await writeRewardAt(settings as unknown as TrainSettings, state, folder, signal);
  else await writeBaseAt(settings as unknown as PretrainFlowSettings, state, folder, signal);
  return { folder, step, steps: Number(settings.steps ?? 0) };
}
