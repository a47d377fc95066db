// What a model says of itself before it is loaded: who prepares data, plans a run or checks settings asks this, and
// reads no config on its own. No torch header here.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/model_source.h"

namespace drm {

struct DescribeRequest {
  PipelineSource source;      // whose transformer is described, and whose VAE where there is one
  ComponentFiles checkpoint;  // a reward model, whose backbone is described instead; or absent
  int64_t size = 0;           // pixels a side for the cost of a pass; 0: the model's default
  int64_t text_tokens = 0;    // for it
};

struct ModelDescription {
  std::string class_name;  // diffusers' `_class_name`
  int64_t in_channels = 0, patch_size = 0, layers = 0, run_layers = 0, width = 0;
  int64_t sequence_width = 0, pooled_width = 0;
  int64_t vae_factor = 0, vae_channels = 0;  // 0 without a VAE
  // Pixels a side, where there is a VAE: what sizes must be multiples of, the usual one, the largest.
  int64_t size_unit = 0, default_size = 0, largest_size = 0;
  std::vector<std::pair<std::string, int64_t>> shape;  // see VelocityModelInfo
  std::vector<std::string> linear_layers;              // what adapters may target
  double parameters = 0;
  // Of a pass at the size and text asked for: see PassCost.
  double operations = 0, weights = 0, working = 0, kept = 0, checkpointed = 0;
  double latent_numbers = 0;
};

/// Reads configs, and of weights no more than their shapes. Throws Failure(BadFile | BadConfig).
ModelDescription describe_model(const DescribeRequest& request);

}  // namespace drm
