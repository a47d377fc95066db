#include "models/registry.h"

#include <algorithm>

#include "models/sd3/sd3.h"

namespace drm {
namespace {

std::vector<Architecture>& all() {
  static std::vector<Architecture> kinds = {
      sd3_architecture(),
  };
  return kinds;
}

VelocityModelConfig read_config_file(const std::string& path) {
  std::shared_ptr<Json> json;
  return read_velocity_config(ConfigReader::read(path, json));
}

}  // namespace

const std::vector<Architecture>& architectures() { return all(); }
void add_architecture(const Architecture& architecture) { all().push_back(architecture); }

VelocityModelConfig read_velocity_config(const ConfigReader& config) {
  std::vector<std::string> names;
  for (const auto& kind : all()) names.emplace_back(kind.class_name);
  const auto name = config.one_of("_class_name", names);
  return std::find_if(all().begin(), all().end(), [&](const auto& kind) { return name == kind.class_name; })
      ->read(config);
}

VelocityModelConfig infer_velocity_config(const Weights& weights) {
  for (const auto& kind : all())
    if (kind.infer && kind.recognises && kind.recognises(weights)) return kind.infer(weights);
  return all().front().infer(weights);  // says what it misses
}

VelocityModelConfig velocity_config_of(const std::string& config, const Weights& weights) {
  return config.empty() ? infer_velocity_config(weights) : read_config_file(config);
}

VelocityModelConfig velocity_config_of(const ComponentFiles& files) {
  return files.config.empty() ? infer_velocity_config(Weights::open(files.weights, velocity_keys))
                              : read_config_file(files.config);
}

KeyReading velocity_keys(const std::vector<std::string>& names) {
  const std::string in_reward_model = "transformer.";
  for (const auto& kind : all()) {
    if (kind.read_original_keys)
      if (auto found = kind.read_original_keys(names)) return *found;
    if (any_starts(names, in_reward_model + kind.blocks)) return plain_keys(names, in_reward_model, "diffusers");
  }
  return plain_keys(names, "", "diffusers");
}

}  // namespace drm
