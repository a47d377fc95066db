// Generated from configs/schema by generate_types.ts: edit the schemas.

/** Settings of `drm sample`, every one with a value. */
export interface SampleSettings {
  /** Which command the file is for. */
  task: 'sample';
  /** Name, diffusers folder, single .safetensors file, or hub id in the cache. */
  model: string;
  /** What guidance steers away from; empty text, as the reference has it, is encoded like any other. */
  negative_prompt: string;
  /** Denoising steps (diffusers' default for SD3; the paper uses 50). */
  steps: number;
  /** Classifier-free guidance scale (paper: 4.5); on when above 1. */
  guidance: number;
  /** Pixels, a multiple of VAE factor x patch (16); 0 is the model's default. */
  height: number;
  /** Pixels, a multiple of VAE factor x patch (16); 0 is the model's default. */
  width: number;
  /** Picture i of a prompt has seed + i: the picture that diffusers gives with a CPU generator of that seed. */
  seed: number;
  /** Pictures a prompt. */
  n: number;
  /** Pictures a network call; 0 chooses by size. Pictures do not depend on it beyond rounding. */
  batch: number;
  /** Tokens that T5 reads (diffusers: 256; the DRM authors: 512); 0 leaves them out of a model without T5. */
  t5_length: number;
  /** Of the weights; auto is bf16 on a GPU and fp32 on a CPU. */
  dtype: 'auto' | 'fp32' | 'bf16';
  /** auto is the first GPU that libtorch can use, else the CPU. */
  device: string;
  /** Give the text encoders' memory back before denoising. */
  free_encoders: boolean;
  /** Edge of a VAE tile in latent pixels; 0 tiles pictures above 2048 pixels only, -1 never. */
  tile: number;
  /** Steps between previews of the first picture; 0 is none. */
  preview: number;
  /** Blocks left out in skip-layer guidance (Stability AI's for SD3.5-Medium: 7, 8, 9); empty is off. */
  skip_layers: number[];
  /** Weight of skip-layer guidance. */
  skip_layer_scale: number;
  /** Fraction of the steps at which it begins. */
  skip_layer_start: number;
  /** Fraction of the steps at which it ends. */
  skip_layer_stop: number;
}

/** By task. */
export interface Settings {
  sample: SampleSettings;
}

export type Task = keyof Settings;
