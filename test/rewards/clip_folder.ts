// Small CLIP folders for tests.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../cli/common/root.js';
import { philox } from '../../cli/random/philox.js';

const golden = join(packageRoot, 'test/golden');

export interface ClipSizes {
  image: number;
  patch: number;
  vw: number;
  vh: number;
  vl: number;
  vm: number;
  tw: number;
  th: number;
  tl: number;
  tm: number;
  proj: number;
  vocab: number;
  ctx: number;
  activation: string;
}

export function clipConfig(s: ClipSizes): object {
  return {
    model_type: 'clip',
    projection_dim: s.proj,
    text_config: {
      hidden_size: s.tw,
      intermediate_size: s.tm,
      num_hidden_layers: s.tl,
      num_attention_heads: s.th,
      vocab_size: s.vocab,
      max_position_embeddings: s.ctx,
      eos_token_id: s.vocab - 1,
      hidden_act: s.activation,
    },
    vision_config: {
      hidden_size: s.vw,
      intermediate_size: s.vm,
      num_hidden_layers: s.vl,
      num_attention_heads: s.vh,
      image_size: s.image,
      patch_size: s.patch,
      hidden_act: s.activation,
    },
  };
}

export const small: ClipSizes = {
  ...{ image: 32, patch: 8, vw: 16, vh: 2, vl: 2, vm: 32 },
  ...{ tw: 16, th: 2, tl: 2, tm: 32, proj: 8, vocab: 934, ctx: 24, activation: 'quick_gelu' },
};

/** The tensors of a CLIPModel with these sizes, in transformers' names. */
function shapes(s: ClipSizes): [string, number[]][] {
  const all: [string, number[]][] = [['logit_scale', []]];
  const linear = (name: string, out: number, input: number) =>
    all.push([`${name}.weight`, [out, input]], [`${name}.bias`, [out]]);
  const norm = (name: string, width: number) => all.push([`${name}.weight`, [width]], [`${name}.bias`, [width]]);
  const layers = (tower: string, count: number, width: number, inner: number) => {
    for (let i = 0; i < count; i++) {
      const layer = `${tower}.encoder.layers.${i}`;
      for (const part of ['q', 'k', 'v', 'out']) linear(`${layer}.self_attn.${part}_proj`, width, width);
      norm(`${layer}.layer_norm1`, width);
      norm(`${layer}.layer_norm2`, width);
      linear(`${layer}.mlp.fc1`, inner, width);
      linear(`${layer}.mlp.fc2`, width, inner);
    }
  };
  all.push(['text_model.embeddings.token_embedding.weight', [s.vocab, s.tw]]);
  all.push(['text_model.embeddings.position_embedding.weight', [s.ctx, s.tw]]);
  layers('text_model', s.tl, s.tw, s.tm);
  norm('text_model.final_layer_norm', s.tw);
  all.push(['vision_model.embeddings.class_embedding', [s.vw]]);
  all.push(['vision_model.embeddings.patch_embedding.weight', [s.vw, 3, s.patch, s.patch]]);
  all.push(['vision_model.embeddings.position_embedding.weight', [(s.image / s.patch) ** 2 + 1, s.vw]]);
  norm('vision_model.pre_layrnorm', s.vw);
  layers('vision_model', s.vl, s.vw, s.vm);
  norm('vision_model.post_layernorm', s.vw);
  all.push(['visual_projection.weight', [s.proj, s.vw]], ['text_projection.weight', [s.proj, s.tw]]);
  return all;
}

/** Weights uniform in +-0.4, the same for the same seed. */
export function randomWeights(s: ClipSizes, seed: number): Buffer {
  const header: Record<string, object> = {};
  const parts: Buffer[] = [];
  let at = 0;
  for (const [n, [name, shape]] of shapes(s).entries()) {
    const count = shape.reduce((product, side) => product * side, 1);
    const values = new Float32Array(count);
    for (let i = 0; i < count; i += 4)
      values.set(
        Array.from(philox([i, n, 0, 0], [seed, 0]), (word) => (word / 2 ** 32 - 0.5) * 0.8).slice(0, count - i),
        i,
      );
    const bytes = Buffer.from(values.buffer);
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + bytes.length] };
    at += bytes.length;
    parts.push(bytes);
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, ...parts]);
}

/** A folder with random weights that reads captions with the golden tokenizer. */
export function writeClip(folder: string, seed = 1, sizes: ClipSizes = small): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(clipConfig(sizes)));
  writeFileSync(join(folder, 'model.safetensors'), randomWeights(sizes, seed));
  for (const file of ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'])
    copyFileSync(join(golden, 'tokenizers/tokenizer', file), join(folder, file));
  return folder;
}
