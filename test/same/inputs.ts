// What the cases work on: copied and written into their work folder first, so that every tree reads the same bytes by the
// same names.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';

/** The checkout that this script is of. */
export const here = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');

/** A image whose pixels tell which one it is. */
async function pngOf(number: number): Promise<Buffer> {
  const [width, height] = [40, 32];
  const pixels = Buffer.alloc(width * height * 3);
  for (let i = 0; i < pixels.length; i++) pixels[i] = (i * 7 + number * 31) % 256;
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

const lines = (count: number, line: (i: number) => string | object): string =>
  Array.from({ length: count }, (_, i) => line(i))
    .map((value) => `${typeof value === 'string' ? value : JSON.stringify(value)}\n`)
    .join('');

/** An AutoencoderKL that halves the image's sides once. */
const VAE = {
  ...{ _class_name: 'AutoencoderKL', act_fn: 'silu', in_channels: 3, out_channels: 3, latent_channels: 4 },
  ...{ block_out_channels: [8, 8], layers_per_block: 1, norm_num_groups: 4, sample_size: 16 },
  down_block_types: ['DownEncoderBlock2D', 'DownEncoderBlock2D'],
  up_block_types: ['UpDecoderBlock2D', 'UpDecoderBlock2D'],
  ...{ force_upcast: true, scaling_factor: 1, shift_factor: 0, use_quant_conv: false, use_post_quant_conv: false },
  mid_block_add_attention: true,
};

/** A CLIPModel for images of 16 × 16 and the tokenizer that the case `data/tokenizer` learns. */
const clip = (width: number) => {
  const tower = { intermediate_size: 32, num_attention_heads: 2, hidden_act: 'quick_gelu', layer_norm_eps: 1e-5 };
  return {
    ...{ architectures: ['CLIPModel'], model_type: 'clip', projection_dim: width, logit_scale_init_value: 2.6592 },
    text_config: {
      ...{ ...tower, model_type: 'clip_text_model', hidden_size: width, num_hidden_layers: 2, projection_dim: width },
      ...{ vocab_size: VOCABULARY, max_position_embeddings: 12 },
      ...{ bos_token_id: VOCABULARY - 2, eos_token_id: VOCABULARY - 1, pad_token_id: 0 },
    },
    vision_config: {
      ...{ ...tower, model_type: 'clip_vision_model', hidden_size: 16, num_hidden_layers: 1, projection_dim: width },
      ...{ image_size: 16, patch_size: 8, num_channels: 3 },
    },
  };
};

/** Few enough for any captions: two merges beyond the bytes, their ends of words, start and end. */
export const VOCABULARY = 516;

/** Writes all of it below `work`. */
export async function writeInputs(work: string): Promise<void> {
  const write = (name: string, content: string | Buffer | object): void => {
    mkdirSync(dirname(join(work, name)), { recursive: true });
    const plain = typeof content === 'string' || Buffer.isBuffer(content);
    writeFileSync(join(work, name), plain ? content : JSON.stringify(content, null, 1));
  };
  mkdirSync(join(work, 'out'), { recursive: true });
  const copy = (from: string, to: string) => cpSync(join(here, from), join(work, to), { recursive: true });
  copy('test/golden/pipeline', 'base');
  copy('test/golden/lora', 'other-lora');
  copy('test/samples', 'samples');
  copy('models/tiny', 'quick-tiny');
  write('quick-tiny/drm.json', { sample: { steps: 4, guidance: 3, t5_length: 0 } });
  copy('test/e2e/data/lora.safetensors', 'lora.safetensors');

  for (let i = 0; i < 48; i++) write(`images/${i}.png`, await pngOf(i));
  write(
    'images/captions.jsonl',
    lines(26, (i) => (i === 9 ? { image: 'gone.png', caption: 'gone' } : { image: `${i}.png`, caption: `image ${i}` })),
  );
  write(
    'images/pairs.jsonl',
    lines(24, (i) => ({ prompt: `image ${i % 11}`, chosen: `${2 * i}.png`, rejected: `${2 * i + 1}.png` })),
  );
  write(
    'images/scored.jsonl',
    lines(3, (i) => ({ prompt: `image ${i}`, images: [`${i}.png`, `${i + 9}.png`] })),
  );
  write(
    'prompts/train.txt',
    lines(12, (i) => `a fox number ${i}`),
  );
  write(
    'prompts/test.txt',
    lines(4, (i) => `an owl number ${i}`),
  );
  write(
    'prompts.jsonl',
    lines(3, (i) => ({ prompt: `a fox ${i}`, negative_prompt: `a cat ${i}`, seed: 7 * i })),
  );

  write('vae/config.json', VAE);
  write('clip-l/config.json', clip(16));
  write('clip-g/config.json', clip(24));
  const transformer = JSON.parse(readFileSync(join(work, 'base/transformer/config.json'), 'utf8')) as object;
  write('transformer/config.json', transformer);

  const steps = {
    ...{ steps: 4, batch: 4, learning_rate: 0.003, warm_up: 1, log_every: 1, evaluate_every: 2, evaluate_samples: 4 },
    ...{ checkpoint_every: 2, keep_last: 4, checkpoint_minutes: 0, dtype: 'fp32', export_dtype: 'fp32', seed: 5 },
  };
  const captions = { ...steps, data: 'out/data/captions' };
  write('vae.json', {
    task: 'pretrain_vae',
    ...captions,
    architecture: 'vae',
    size: 16,
    micro_batch: 2,
    preview_every: 2,
  });
  const clips = { task: 'pretrain_clip', ...captions, tokenizer: 'out/data/tokenizer', size: 16 };
  for (const name of ['l', 'g']) write(`clip-${name}.json`, { ...clips, architecture: `clip-${name}` });
  const flow = { task: 'pretrain_flow', ...captions, size: 32, micro_batch: 3 };
  const parts = { vae: 'base/vae', clip_l: 'out/pretrain/clip-l/model', clip_g: 'out/pretrain/clip-g/model' };
  const previews = { preview_every: 2, preview_steps: 2, preview_guidance: 2 };
  write('flow-new.json', { ...flow, ...previews, ...parts, architecture: 'transformer', t5_length: 0 });
  write('flow-more.json', { ...flow, model: 'base', t5_length: 8 });

  write('train.json', {
    ...{ task: 'train', ...steps, model: 'base', data: 'out/data/pairs', size: 32, t5_length: 8, micro_batch: 3 },
    ...{ head_channels: 8, head_groups: 4, head_hidden: 16 },
  });
  write('grpo.json', {
    ...{ task: 'grpo', model: 'base', reward: 'out/train/full', prompts: 'prompts', size: 32, t5_length: 8 },
    ...{ iterations: 4, prompts_per_iteration: 2, group: 4, k: 3, batch: 3, denoising_steps: 4, lora_rank: 4 },
    ...{ learning_rate: 0.01, clip_range: 0.001, ema_every: 1, evaluate_steps: 3, evaluate_samples: 4, seed: 5 },
    ...{ evaluate_every: 2, checkpoint_every: 2, keep_last: 4, checkpoint_minutes: 0, dtype: 'fp32' },
  });
}
