// A reward model with random head weights on the fixtures' small pipeline, written by the core as `drm train` does.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Trainer } from '../../binding/index.js';
import { resolveModel } from '../../cli/hub/resolve.js';
import { fixture } from '../run_drm.js';

const head = { channels: 8, groups: 4, hidden: 12, dropout: 0.1 };

export async function writeDrm(folder: string, seed = 1, base: string | undefined = fixture): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const { source } = await resolveModel(fixture, {});
  const trainer = await Trainer.create(
    {
      kind: 'reward',
      source,
      settings: {
        ...{ keep_layers: 2, head_channels: head.channels, head_groups: head.groups, head_hidden: head.hidden },
        ...{ head_dropout: head.dropout, timestep_sampling: 'logit_normal', logit_mean: 0, logit_deviation: 1 },
        ...{ likelihood: 'bradley_terry', score_variance: 0.05, score_variance_noise: 2 },
        ...{ shifted: true, shared_noise: false, posterior_sample: false, gradient_checkpointing: false },
        ...{ t5_length: 16, backbone: 'full', lora_rank: 0, lora_alpha: 0, lora_targets: [] },
      },
    },
    {
      ...{ device: 'cpu', dtype: 'fp32', seed: BigInt(seed), zero: false },
      settings: {
        ...{ beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0, max_gradient_norm: 0, ema_decay: 0, zero: false },
      },
    },
  );
  await trainer.export(join(folder, 'model.safetensors'), 'fp32', { layout: 'drm' });
  trainer.dispose();
  const backbone = JSON.parse(readFileSync(join(fixture, 'transformer/config.json'), 'utf8'));
  const config = {
    ...{ _class_name: 'DiffusionRewardModel', ...(base !== undefined && { base }) },
    ...{ backbone, keep_layers: 2, head, t5_length: 16, size: 32 },
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  return folder;
}
