// A reward model of the fixture's pipeline, written as `drm train` writes one: the fixture's own transformer, of which
// two blocks are kept, and a head of fixed numbers.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readTensors, type Tensor, writeTensors } from '../parity/safetensors.js';
import { fixture, repository, temporaryFolder } from '../run_drm.js';

const CHANNELS = 8;
const HIDDEN = 6;

/** Numbers in (-scale, scale) that look irregular and are the same on every run. */
function numbers(shape: number[], scale: number, offset: number): Tensor {
  const data = new Float32Array(shape.reduce((product, n) => product * n, 1));
  for (let i = 0; i < data.length; i++) data[i] = scale * Math.sin(1 + offset + 12.9898 * i);
  return { dtype: 'F32', shape, data };
}

function head(scale: number): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  const widths = [16, CHANNELS, 2 * CHANNELS, 2 * CHANNELS];
  for (let i = 1; i < widths.length; i++) {
    const [from = 0, to = 0] = [widths[i - 1], widths[i]];
    tensors.set(`reward_output.down${i}.0.weight`, numbers([to, from, 3, 3], 0.2, i));
    tensors.set(`reward_output.down${i}.0.bias`, numbers([to], 0.1, i));
    tensors.set(`reward_output.down${i}.1.weight`, numbers([to], 1, i));
    tensors.set(`reward_output.down${i}.1.bias`, numbers([to], 0.1, i));
  }
  tensors.set('reward_output.mlp.0.weight', numbers([HIDDEN, 2 * CHANNELS], 0.5, 5));
  tensors.set('reward_output.mlp.0.bias', numbers([HIDDEN], 0.5, 6));
  tensors.set('reward_output.mlp.3.weight', numbers([1, HIDDEN], scale, 7));
  tensors.set('reward_output.mlp.3.bias', numbers([1], 1, 8));
  return tensors;
}

/** `scale` is that of the last layer; NaN makes a model whose scores are. */
export function rewardFolder({ scale = 1, t5Length = 32 } = {}): string {
  const folder = join(temporaryFolder(), 'reward');
  mkdirSync(folder);
  const backbone = JSON.parse(readFileSync(join(fixture, 'transformer/config.json'), 'utf8')) as object;
  const config = {
    _class_name: 'DiffusionRewardModel',
    base: fixture,
    backbone,
    keep_layers: 2,
    head: { channels: CHANNELS, groups: 4, hidden: HIDDEN, dropout: 0.1 },
    t5_length: t5Length,
    size: 64,
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  const tensors = head(scale);
  const transformer = readTensors(join(fixture, 'transformer/diffusion_pytorch_model.safetensors'));
  for (const [name, tensor] of transformer)
    if (!name.startsWith('transformer_blocks.2.')) tensors.set(`transformer.${name}`, tensor);
  writeTensors(join(folder, 'model.safetensors'), tensors);
  return folder;
}

/** The golden case's reward model, whose base has other widths. */
export function foreignRewardFolder(): string {
  const golden = join(repository, 'test/golden/drm');
  const folder = join(temporaryFolder(), 'foreign');
  mkdirSync(folder);
  const stored = JSON.parse(readFileSync(join(golden, 'config.json'), 'utf8')) as {
    backbone: object;
    keep_layers: number;
    head: { base_ch: number; gn_groups: number; hidden: number; conv_strides: number[] };
  };
  const { base_ch: channels, gn_groups: groups, hidden, conv_strides: strides } = stored.head;
  const config = {
    _class_name: 'DiffusionRewardModel',
    backbone: { ...stored.backbone, _class_name: 'SD3Transformer2DModel' },
    keep_layers: stored.keep_layers,
    head: { channels, groups, hidden, strides },
    t5_length: 32,
    size: 64,
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  const all = readTensors(join(golden, 'io.safetensors'));
  const own = [...all].filter(([name]) => /^(transformer|reward_output)\./.test(name));
  writeTensors(join(folder, 'model.safetensors'), new Map(own));
  return folder;
}
