#include "api/data_set_encoder.h"

#include <mutex>

#include "models/registry.h"
#include "runtime/device.h"
#include "train/frozen_inputs.h"

namespace drm {
namespace {

class LoadedEncoder final : public DataSetEncoder {
 public:
  LoadedEncoder(const PipelineSource& source, int64_t t5_length, const LoadOptions& options, Control& control)
      : dtype_(parse_dtype(options.dtype)),
        inputs_(source, t5_length, velocity_config_of(source.transformer).plan(0), dtype_, parse_device(options.device),
                control) {}

  void latents(const TrainBatch& batch, const std::string& path) override {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    guarded([&] { inputs_.save_latents(batch, path, dtype_); });
  }
  void prompts(const std::vector<PromptTokens>& prompts, const std::string& path, Control& control) override {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    guarded([&] { inputs_.save_prompts(prompts, path, dtype_, control); });
  }

 private:
  at::ScalarType dtype_;
  FrozenInputs inputs_;
  std::mutex mutex_;
};

}  // namespace

std::shared_ptr<DataSetEncoder> DataSetEncoder::load(const PipelineSource& source, int64_t t5_length,
                                                     const LoadOptions& options, Control& control) {
  return guarded([&] { return std::make_shared<LoadedEncoder>(source, t5_length, options, control); });
}

}  // namespace drm
