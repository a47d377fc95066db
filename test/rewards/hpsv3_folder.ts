// Small HPSv3 checkpoints for tests.
import { createHash } from 'node:crypto';

/** As the golden case describes itself. */
export interface Hpsv3Sizes {
  vocab: number;
  hidden: number;
  inter: number;
  layers: number;
  heads: number;
  kv: number;
  theta: number;
  eps: number;
  v_layers: number;
  v_dim: number;
  v_heads: number;
  patch: number;
  merge: number;
  temporal: number;
  head: number[];
  special_ids: Record<string, number>;
  template: string;
  tail: string;
}

/** In transformers' form, with the fields of our own: the tokens' ids, the head, and the digest of the miniature's text. */
export const hpsv3Config = (s: Hpsv3Sizes): object => ({
  model_type: 'qwen2_vl',
  vocab_size: s.vocab,
  hidden_size: s.hidden,
  intermediate_size: s.inter,
  num_hidden_layers: s.layers,
  num_attention_heads: s.heads,
  num_key_value_heads: s.kv,
  rms_norm_eps: s.eps,
  rope_theta: s.theta,
  image_token_id: s.special_ids['<|image_pad|>'],
  reward_token_id: s.special_ids['<|Reward|>'],
  reward_head_sizes: s.head.slice(0, 2),
  instruction_sha256: createHash('sha256').update(s.template).update(s.tail).digest('hex'),
  vision_config: {
    depth: s.v_layers,
    embed_dim: s.v_dim,
    num_heads: s.v_heads,
    hidden_size: s.hidden,
    patch_size: s.patch,
    spatial_merge_size: s.merge,
    temporal_patch_size: s.temporal,
  },
});
