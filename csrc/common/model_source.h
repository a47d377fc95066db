// Where a model's files are and how it is loaded, as plain data.
#pragma once
#include <string>
#include <vector>

namespace drm {

/// The files of one component. `weights`: one file, several, or one index file; empty when the component is absent.
/// `config` may be empty where it can be told from the weights (a single-file transformer or VAE).
struct ComponentFiles {
  std::string config;
  std::vector<std::string> weights;
  bool present() const { return !weights.empty(); }
};

struct PipelineSource {
  ComponentFiles transformer, vae;
  ComponentFiles text_encoder, text_encoder_2, text_encoder_3;  // CLIP-L, CLIP-G, T5; T5 may be absent (zeros)
  std::string scheduler_config;                                 // empty: SD3's defaults (shift 3.0)
};

/// An adapter file and how strongly it counts: its own alpha / rank times this.
struct LoraUse {
  std::string file;
  double strength = 1;
};

struct LoadOptions {
  std::string device = "cpu";  // "cpu", "cuda", "cuda:N"
  std::string dtype = "fp32";  // "fp32", "fp16", "bf16"
  std::vector<LoraUse> loras;  // of a Pipeline's transformer; other models have none
};

}  // namespace drm
