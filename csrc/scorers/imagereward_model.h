// ImageReward (Xu et al. 2023): what a person would say of an image to a prompt, read off BLIP (reference: the
// `image-reward` package).
// Shapes: B batch, S image edge, N patches, L tokens, D width of the text, E width of the image.
#pragma once
#include "scorers/affine_head.h"
#include "scorers/blip_vision.h"
#include "text/bert.h"

namespace drm {

struct ImageRewardConfig {
  BlipVisionConfig vision;
  BertConfig text;
  std::vector<int64_t> head_sizes;
  int64_t max_length = 35;         // tokens that a prompt is cut and padded to
  int64_t pad_token_id = 0;        // what it is padded with
  double mean = 0, deviation = 1;  // of the raw score over the authors' data
};

/// Reads a transformers BlipConfig with, beside the towers, a head_config of hidden_sizes, max_length, mean and std:
/// configs/scorers/imagereward.json is the published one. Throws Failure(BadConfig | BadFile).
ImageRewardConfig read_imagereward_config(const std::string& path);

struct ImageReward {
  ImageRewardConfig config;
  BlipVision vision;
  Bert text;
  AffineHead head;
};

ImageReward make_imagereward(const ImageRewardConfig& config);
/// By the names of the published file, of which the projections to BLIP's contrastive space are passed over. The head
/// is loaded in fp32. Throws Failure(KeysMismatch | BadFile).
void load_imagereward(ImageReward& m, const Weights& weights, at::ScalarType dtype, at::Device device,
                      const std::function<void(uint64_t, uint64_t)>& progress = {});

/// (B, L): 1 for tokens, 0 for the padding at the end of each row of ids (B, L). A pad token between others counts as
/// a token, as it does for the tokenizer.
Tensor imagereward_mask(const Tensor& ids, int64_t pad_token_id);

/// The text's last hidden states (B, L, D) beside the image's tokens (B, 1 + N, E); ids (B, L) int64.
/// Throws Failure(BadRequest) for ids outside the vocabulary or more than the position table holds.
Tensor imagereward_hidden(const ImageReward& m, const Tensor& image_tokens, const Tensor& ids,
                          const Observer* observer = nullptr);

template <class V>
void each(ImageReward& m, V&& visit) {
  each_blip_vision(m.vision, "blip.visual_encoder.", visit);
  each_bert(m.text, "blip.text_encoder.", visit);
  each_affine_head(m.head, "mlp.", visit);
}

}  // namespace drm
