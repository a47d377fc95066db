// BERT's encoder as BLIP reads captions with it (Devlin et al. 2019; Li et al. 2022; reference: transformers'
// BlipTextModel with is_decoder=False): a cross-attention to an image between self-attention and feed-forward, and no
// token types.
// Shapes: B batch, L tokens, N image tokens, D width, E width of the image tokens.
#pragma once
#include <string>
#include <vector>

#include "nn/layers.h"
#include "tensor_io/config_reader.h"

namespace drm {

/// The sizes of a stack of transformer blocks.
struct BlockSizes {
  int64_t hidden_size = 0, intermediate_size = 0, num_hidden_layers = 0, num_attention_heads = 0;
  double layer_norm_eps = 0;
};

/// Reads them by transformers' field names, all required: BLIP's two towers differ in their eps. Only exact GELU is
/// known. Throws Failure(BadConfig).
BlockSizes read_block_sizes(const ConfigReader& r);

struct BertConfig : BlockSizes {
  int64_t vocab_size = 0, max_position_embeddings = 0;
  int64_t encoder_hidden_size = 0;  // E
};

/// Reads the text_config of a transformers BlipConfig. Throws Failure(BadConfig).
BertConfig read_bert_config(const ConfigReader& text);

struct BertAttention {
  Linear query, key, value, out;
  Norm norm;  // after the sum with the input
};

struct BertLayer {
  BertAttention self, cross;
  Linear up, down;
  Norm norm;
};

struct Bert {
  BertConfig config;
  Table tokens, positions;
  Norm norm;
  std::vector<BertLayer> layers;
};

Bert make_bert(const BertConfig& config);

/// Last hidden states (B, L, D) of ids (B, L) int64 that look at image tokens (B, N, E). mask (B, L): 1 for tokens, 0
/// for padding, which is not attended to (-10000 is added to its scores). Attention is bidirectional.
/// Throws Failure(BadRequest) for ids outside the vocabulary or too many tokens.
/// Observer names: "hidden_states.<i>" (0 = embeddings after their norm).
Tensor bert_forward(const Bert& b, const Tensor& ids, const Tensor& mask, const Tensor& image_tokens,
                    const Observer* observer = nullptr);

template <class V>
void each_bert_attention(BertAttention& a, const std::string& name, V&& visit) {
  visit(name + ".self.query", a.query);
  visit(name + ".self.key", a.key);
  visit(name + ".self.value", a.value);
  visit(name + ".output.dense", a.out);
  visit(name + ".output.LayerNorm", a.norm);
}

/// Under the names of Google's release, which all of BERT's kin have kept.
template <class V>
void each_bert(Bert& b, const std::string& prefix, V&& visit) {
  visit(prefix + "embeddings.word_embeddings", b.tokens);
  visit(prefix + "embeddings.position_embeddings", b.positions);
  visit(prefix + "embeddings.LayerNorm", b.norm);
  for (size_t i = 0; i < b.layers.size(); ++i) {
    const auto n = prefix + "encoder.layer." + std::to_string(i) + ".";
    auto& l = b.layers[i];
    each_bert_attention(l.self, n + "attention", visit);
    each_bert_attention(l.cross, n + "crossattention", visit);
    visit(n + "intermediate.dense", l.up);
    visit(n + "output.dense", l.down);
    visit(n + "output.LayerNorm", l.norm);
  }
}

}  // namespace drm
