// What the tests of training share: the fixtures' small pipeline, token ids for it, and looks at a trainer.
#pragma once
#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "api/pipeline.h"
#include "common/failure.h"
#include "device.h"
#include "train/trainer.h"

namespace drm::test {

inline const std::string kPipeline = std::string(DRM_GOLDEN) + "/pipeline/";

/// A diffusers folder's files, T5 left out: rows of zeros stand in.
inline PipelineSource pipeline_at(const std::string& folder) {
  const auto part = [&](const std::string& name, const char* file) {
    return ComponentFiles{folder + name + "/config.json", {folder + name + "/" + file}};
  };
  PipelineSource s;
  s.transformer = part("transformer", "diffusion_pytorch_model.safetensors");
  s.vae = part("vae", "diffusion_pytorch_model.safetensors");
  s.text_encoder = part("text_encoder", "model.safetensors");
  s.text_encoder_2 = part("text_encoder_2", "model.safetensors");
  s.scheduler_config = folder + "scheduler/scheduler_config.json";
  return s;
}

inline PipelineSource small_pipeline() { return pipeline_at(kPipeline); }

inline std::vector<PromptTokens> prompts(int64_t count) {
  std::vector<PromptTokens> all;
  for (int64_t i = 0; i < count; ++i) {
    PromptTokens p;
    p.clip_l.assign(8, 5 + i);
    p.clip_g.assign(8, 9 + i);
    p.clip_l.back() = p.clip_g.back() = 900;
    all.push_back(std::move(p));
  }
  return all;
}

/// Of another word each, for the embedded model.
inline PromptTokens tiny_tokens(int64_t word) {
  PromptTokens p;
  p.clip_l.assign(24, 5 + word);
  p.clip_g.assign(24, 9 + word);
  return p;
}

inline double metric(const Metrics& metrics, const std::string& name) {
  for (const auto& m : metrics)
    if (m.name == name) return m.value;
  throw Failure(Code::Internal, "no metric " + name);
}

/// The parameters as they are now.
inline std::vector<at::Tensor> copies(Trainer& t) {
  std::vector<at::Tensor> all;
  for (const auto& [name, p] : t.objective().parameters()) all.push_back(p.detach().clone());
  return all;
}

inline bool same(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (!at::equal(a[i], b[i])) return false;
  return a.size() == b.size();
}

}  // namespace drm::test
