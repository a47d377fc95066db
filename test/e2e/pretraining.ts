// What the tests of `drm pretrain` share: a small prepared set, architectures that train in seconds, and what a run learned.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { writeImages } from '../data/images.js';
import { fixture, type Outcome, type RunOptions, runDrm } from '../run_drm.js';

/** 24 images of 40 × 32 with captions, a quarter of them held out as split `test`, in one shard a split. */
export async function preparedSet(work: string, name = 'set', more: string[] = []): Promise<string> {
  const set = join(work, name);
  const from = join(await writeImages(join(work, 'images'), 24), 'captions.jsonl');
  const args = ['data', 'prepare', 'jsonl', '--from', from, '--out', set, '--hold-out', '25', ...more];
  expect(await runDrm(args)).toMatchObject({ code: 0 });
  return set;
}

/** A tokenizer of the set's captions. */
export async function tokenizerOf(set: string, work: string): Promise<string> {
  const tokenizer = join(work, 'tokenizer');
  const args = ['data', 'tokenizer', set, '--vocabulary', '540', '--max-length', '12', '--out', tokenizer];
  expect(await runDrm(args)).toMatchObject({ code: 0 });
  return tokenizer;
}

function architecture(folder: string, config: object): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  return folder;
}

/** An AutoencoderKL that halves the image's sides once. */
export function vaeArchitecture(folder: string): string {
  const blocks = (name: string) => [`${name}Block2D`, `${name}Block2D`];
  return architecture(folder, {
    ...{ _class_name: 'AutoencoderKL', act_fn: 'silu', in_channels: 3, out_channels: 3, latent_channels: 4 },
    ...{ block_out_channels: [8, 8], layers_per_block: 1, norm_num_groups: 4, sample_size: 16 },
    ...{ down_block_types: blocks('DownEncoder'), up_block_types: blocks('UpDecoder'), force_upcast: true },
    ...{ scaling_factor: 1, shift_factor: 0, use_quant_conv: false, use_post_quant_conv: false },
    mid_block_add_attention: true,
  });
}

/** A CLIPModel for images of 16 × 16; `width` is that of its text tower and of its features. */
export function clipArchitecture(folder: string, width: number, tokenizer: string): string {
  const ids = JSON.parse(readFileSync(join(tokenizer, 'vocab.json'), 'utf8')) as Record<string, number>;
  const tower = { intermediate_size: 32, num_attention_heads: 2, hidden_act: 'quick_gelu', layer_norm_eps: 1e-5 };
  return architecture(folder, {
    ...{ architectures: ['CLIPModel'], model_type: 'clip', projection_dim: width, logit_scale_init_value: 2.6592 },
    text_config: {
      ...tower,
      ...{ model_type: 'clip_text_model', hidden_size: width, num_hidden_layers: 2, projection_dim: width },
      ...{ vocab_size: Object.keys(ids).length, max_position_embeddings: 12 },
      ...{ bos_token_id: ids['<|startoftext|>'], eos_token_id: ids['<|endoftext|>'], pad_token_id: 0 },
    },
    vision_config: {
      ...tower,
      ...{ model_type: 'clip_vision_model', hidden_size: 16, num_hidden_layers: 1, projection_dim: width },
      ...{ image_size: 16, patch_size: 8, num_channels: 3 },
    },
  });
}

/** A folder with the config.json of the fixture's transformer: 16 latent channels, 40 pooled, patch 2, three blocks. */
export function transformerArchitecture(folder: string, changes: object = {}): string {
  const config = JSON.parse(readFileSync(join(fixture, 'transformer/config.json'), 'utf8')) as object;
  return architecture(folder, { ...config, ...changes });
}

/** The whole command line, quick settings in `config`. */
export const pretrain = (part: string, config: string, out: string, more: string[] = [], options: RunOptions = {}) =>
  runDrm(['pretrain', part, '--config', config, '--threads', '1', '--out', out, '--json', ...more], options);

/** Sends the signal when step `step` is reported. */
export const at = (step: number, signal: NodeJS.Signals): RunOptions => ({
  onOutput: { when: `"event":"metric","step":${step},`, act: (kill) => kill(signal) },
});

/** The arguments of the command that an interrupted run says to type. */
export function resumeArguments({ stderr }: Outcome): string[] {
  const command = /go on (?:from it )?with: drm (.*)/.exec(stderr)?.[1];
  if (command === undefined) throw new Error(`expected a command to go on with, found ${stderr}`);
  return command.split(' ');
}

export interface Line {
  event: string;
  step: number;
  values: Record<string, number>;
  message: string;
  facts: Record<string, string | number>;
  paths: string[];
}

export const linesOf = (text: string): Line[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);

/** Metrics and evaluations without what belongs to the machine. */
export function learned(run: string) {
  return linesOf(readFileSync(join(run, 'metrics.jsonl'), 'utf8'))
    .filter(({ event }) => event === 'metric' || event === 'evaluation')
    .map(({ event, step, values: { samples_per_second, pairs_per_second, data_wait, memory_mb, ...values } }) => ({
      ...{ event, step, values },
    }));
}
