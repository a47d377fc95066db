// Configs of small ImageRewards and aesthetic predictors for tests, in the form of configs/scorers.
import { type ClipSizes, clipConfig } from './clip_folder.js';

/** As the golden case states them. */
export interface ImageRewardSizes {
  image: number;
  patch: number;
  vw: number;
  vh: number;
  vl: number;
  tw: number;
  th: number;
  tl: number;
  tm: number;
  vocab: number;
  maxpos: number;
  maxlen: number;
  mlp: number[];
  mean: number;
  std: number;
  vit_eps: number;
  bert_eps: number;
}

export const imageRewardConfig = (s: ImageRewardSizes): object => ({
  model_type: 'blip',
  text_config: {
    encoder_hidden_size: s.vw,
    hidden_size: s.tw,
    intermediate_size: s.tm,
    layer_norm_eps: s.bert_eps,
    max_position_embeddings: s.maxpos,
    num_attention_heads: s.th,
    num_hidden_layers: s.tl,
    vocab_size: s.vocab,
  },
  vision_config: {
    hidden_size: s.vw,
    image_size: s.image,
    intermediate_size: 4 * s.vw,
    layer_norm_eps: s.vit_eps,
    num_attention_heads: s.vh,
    num_hidden_layers: s.vl,
    patch_size: s.patch,
  },
  head_config: { hidden_sizes: s.mlp.slice(0, -1), max_length: s.maxlen, mean: s.mean, std: s.std },
});

/** `dims`: the head's widths, from what it reads to 1. */
export const aestheticConfig = (clip: ClipSizes, dims: number[]): object => ({
  ...clipConfig(clip),
  head_config: { hidden_sizes: dims.slice(1, -1) },
});
