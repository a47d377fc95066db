#include "models/velocity_model.h"

namespace drm {
namespace {

/// Numbers a token and channel that a block has alive at once, and that it keeps for the backward pass; measured.
constexpr double kWorking = 24, kKept = 40;

}  // namespace

PassCost VelocityModel::cost(int64_t patches, int64_t text_tokens) const {
  const auto d = static_cast<double>(info().width), tokens = static_cast<double>(patches + text_tokens),
             layers = static_cast<double>(run_layers());
  PassCost c;
  c.operations = layers * (2 * 12 * d * d * tokens + 4 * tokens * tokens * d);
  c.weights = layers * 12 * d * d;
  c.working = tokens * d * kWorking;
  c.kept = tokens * d * layers * kKept;
  c.checkpointed = tokens * d * (layers + kKept);
  return c;
}

void load_velocity_model(VelocityModel& model, const Weights& weights, at::ScalarType dtype, at::Device device,
                         const std::function<void(uint64_t, uint64_t)>& progress) {
  const auto ignorable = [&](const std::string& key) { return model.is_left_out(key); };
  weights.fill(wanted(model), dtype, device, ignorable, model.mismatch_hint(weights), progress);
}

}  // namespace drm
