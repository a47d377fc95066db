// The kinds of base model there are: one line each in registry.cc.
#pragma once
#include <optional>

#include "common/model_source.h"
#include "models/original_layers.h"
#include "models/velocity_model.h"
#include "tensor_io/config_reader.h"

namespace drm {

/// A base whose config is known, and of which nothing is loaded yet.
struct VelocityModelConfig {
  VelocityModelInfo info;
  /// The model with planned (meta) tensors; with `keep_layers` > 0 truncated, of the first blocks alone.
  std::function<std::shared_ptr<VelocityModel>(int64_t keep_layers)> plan;
};

/// A kind of base model.
struct Architecture {
  const char* class_name;  // `_class_name` in diffusers' config.json
  /// What the names of a block's leaves begin with: "transformer_blocks.".
  const char* blocks;
  /// Throws Failure(BadConfig).
  VelocityModelConfig (*read)(const ConfigReader& config);
  /// The config told from the shapes of a checkpoint. Throws Failure(BadFile). Null where they do not tell it.
  VelocityModelConfig (*infer)(const Weights& weights) = nullptr;
  /// Whether these are the keys of such a model, by diffusers' names.
  bool (*recognises)(const Weights& weights) = nullptr;
  /// The keys of files in its original spelling, if they are. Null where there is none but diffusers'.
  std::optional<KeyReading> (*read_original_keys)(const std::vector<std::string>& names) = nullptr;
  /// Its layers' names there, for adapters. Null likewise.
  const OriginalLayers& (*original_layers)() = nullptr;
};

const std::vector<Architecture>& architectures();
/// For the tests' own kinds.
void add_architecture(const Architecture& architecture);

/// By the config's `_class_name`; the first kind where it has none. Throws Failure(BadConfig).
VelocityModelConfig read_velocity_config(const ConfigReader& config);
/// By its file, or, where that is "", from the shapes of the weights. Throws Failure(BadFile | BadConfig).
VelocityModelConfig velocity_config_of(const std::string& config, const Weights& weights);
/// The same of files whose weights nobody has opened yet: they are only where there is no config.
VelocityModelConfig velocity_config_of(const ComponentFiles& files);
VelocityModelConfig infer_velocity_config(const Weights& weights);

/// Keys of a denoiser's files: an original spelling, diffusers' names, or those in a reward model's file
/// (`transformer.*`).
KeyReading velocity_keys(const std::vector<std::string>& names);

}  // namespace drm
