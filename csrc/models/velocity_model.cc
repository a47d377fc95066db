#include "models/velocity_model.h"

namespace drm {

at::ScalarType dtype_of(const VelocityModel& model) {
  return const_cast<VelocityModel&>(model).output_layer().weight.scalar_type();
}

void load_velocity_model(VelocityModel& model, const Weights& weights, at::ScalarType dtype, at::Device device,
                         const std::function<void(uint64_t, uint64_t)>& progress) {
  const auto ignorable = [&](const std::string& key) { return model.is_left_out(key); };
  weights.fill(wanted(model), dtype, device, ignorable, model.mismatch_hint(weights), progress);
}

}  // namespace drm
