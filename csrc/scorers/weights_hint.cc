#include "scorers/weights_hint.h"

namespace drm {
namespace {

/// What only this one's tensors are called, those first that hold others inside them.
constexpr struct {
  const char *beginning, *name;
} kTelltales[] = {
    {"cross_model.", "MPS"},
    {"rm_head.", "HPSv3"},
    {"blip.", "ImageReward"},
    {"lin0.model.", "LPIPS (its linear layers)"},
    {"features.", "a trunk of LPIPS"},
    {"layers.0.", "the aesthetic predictor's head"},
    {"transformer_blocks.", "a text-to-image model's transformer"},
    {"joint_blocks.", "a text-to-image model's transformer"},
};

}  // namespace

std::string looks_like(const Weights& weights) {
  const auto& entries = weights.entries();
  const auto say = [](const std::string& name) { return "these look like the weights of " + name; };
  for (const auto& [beginning, name] : kTelltales)
    if (const auto at = entries.lower_bound(beginning); at != entries.end() && at->first.starts_with(beginning))
      return say(name);
  const auto tokens = entries.find("text_model.embeddings.token_embedding.weight");
  if (tokens == entries.end() || !weights.has("visual_projection.weight") || tokens->second.info.shape.size() != 2)
    return {};
  const auto width = tokens->second.info.shape[1];
  if (width == 768) return say("CLIP ViT-L/14 (HPS v1 is one)");
  if (width == 1024) return say("CLIP ViT-H/14 (PickScore and HPSv2 are)");
  return say("a CLIP whose text tower is " + std::to_string(width) + " wide");
}

}  // namespace drm
