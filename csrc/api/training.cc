#include "api/training.h"

#include <ATen/ATen.h>

#include "runtime/device.h"
#include "train/clip_objective.h"
#include "train/flow_objective.h"
#include "train/frozen_inputs.h"
#include "train/policy_objective.h"
#include "train/reward_objective.h"
#include "train/trainer.h"
#include "train/vae_objective.h"
#include "vae/pictures.h"

namespace drm {
namespace {

struct MakeObjective {
  uint64_t seed;
  at::ScalarType dtype;
  at::Device device;
  Control& control;
  std::unique_ptr<Objective> operator()(const VaeSpec& spec) { return vae_objective(spec, seed, device); }
  std::unique_ptr<Objective> operator()(const ClipSpec& spec) { return clip_objective(spec, seed, device); }
  std::unique_ptr<Objective> operator()(const FlowSpec& spec) {
    return FlowObjective::create(spec, seed, device, control);
  }
  std::unique_ptr<Objective> operator()(const RewardSpec& spec) {
    return RewardObjective::create(spec, seed, dtype, device, control);
  }
  std::unique_ptr<Objective> operator()(const PolicySpec& spec) {
    return PolicyObjective::create(spec, seed, dtype, device, control);
  }
};

class TrainingRun final : public Training {
 public:
  TrainingRun(const ObjectiveSpec& objective, const TrainerOptions& options, const std::shared_ptr<ProcessGroup>& group,
              Control& control)
      : trainer_(
            std::visit(MakeObjective{options.seed, parse_dtype(options.dtype), parse_device(options.device), control},
                       objective),
            options, std::dynamic_pointer_cast<Collectives>(group), control) {}

  int64_t parameters() const override { return trainer_.trained_parameters(); }
  Metrics step(const std::vector<TrainBatch>& batches, int64_t index, double rate, Control& control) override {
    return trainer_.step(batches, index, rate, control);
  }
  Metrics evaluate(const TrainBatch& batch) override { return trainer_.evaluate(batch); }
  void save(const std::string& path, const Control& control) override { trainer_.save(path, control); }
  void restore(const std::string& path, const Control& control) override { trainer_.restore(path, control); }
  void export_weights(const std::string& path, const std::string& dtype, RewardLayout layout) override {
    if (layout == RewardLayout::Kept) return trainer_.export_weights(path, dtype);
    const auto type = parse_dtype(dtype);
    trainer_.with_averages([&] { objective<RewardObjective>("the authors' layout").export_as_authors(path, type); });
  }

  void cache_latents(const TrainBatch& batch) override {
    trainer_.exclusively([&] { inputs("a cache of latents").cache_latents(batch); });
  }
  void cache_prompts(const std::vector<PromptTokens>& prompts, Control& control) override {
    trainer_.exclusively([&] { inputs("a cache of prompts").cache_prompts(prompts, control); });
  }

  void load_latents(const std::string& path, const std::vector<int64_t>& pictures) override {
    trainer_.exclusively([&] { inputs("a cache of latents").load_latents(path, pictures); });
  }
  void load_prompts(const std::vector<std::string>& paths) override {
    trainer_.exclusively([&] { inputs("a cache of prompts").load_prompts(paths); });
  }

  void preview(const PreviewRequest& request, Control& control) override {
    const auto pictures =
        trainer_.with_averages([&] { return objective<FlowObjective>("previews").preview(request, control); });
    for (int64_t i = 0; i < pictures.size(0); ++i) {
      auto e = picture_event("image", pictures[i]);
      e.fields.emplace_back("index", static_cast<double>(i));
      control.emit(std::move(e));
    }
  }

  Rollout rollout(const RolloutRequest& request, Control& control) override {
    return trainer_.exclusively([&] { return policy().rollout(request, control); });
  }
  double ratio_error(const std::vector<TrainBatch>& batches, Control& control) override {
    return trainer_.exclusively([&] {
      double most = 0;
      for (const auto& batch : batches) {
        control.check();
        most = std::max(most, policy().ratio_error(batch));
      }
      return most;
    });
  }
  PolicyScores sample(const PolicySampleRequest& request, Control& control) override {
    return trainer_.with_averages([&] { return policy().sample(request, control); });
  }

 private:
  PolicyObjective& policy() { return objective<PolicyObjective>("rollouts"); }
  FrozenInputs& inputs(const char* what) { return objective<CachingObjective>(what).inputs(); }

  template <class Wanted>
  Wanted& objective(const char* what) {
    auto* wanted = dynamic_cast<Wanted*>(&trainer_.objective());
    if (!wanted) throw Failure(Code::BadRequest, std::string("[train] ") + what + ": this objective has none");
    return *wanted;
  }

  Trainer trainer_;
};

}  // namespace

std::shared_ptr<Training> Training::create(const ObjectiveSpec& objective, const TrainerOptions& options,
                                           const std::shared_ptr<ProcessGroup>& group, Control& control) {
  return std::make_shared<TrainingRun>(objective, options, group, control);
}

}  // namespace drm
