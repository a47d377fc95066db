#include "api/training.h"

#include <ATen/ATen.h>

#include "runtime/device.h"
#include "train/clip_objective.h"
#include "train/flow_objective.h"
#include "train/frozen_inputs.h"
#include "train/policy_objective.h"
#include "train/reward_objective.h"
#include "train/scorer_objective.h"
#include "train/trainer.h"
#include "train/vae_objective.h"

namespace drm {
namespace {

/// What all trainings do alike.
template <class Interface>
class Run : public Interface {
 public:
  Run(std::unique_ptr<Objective> objective, const TrainerOptions& options, const std::shared_ptr<ProcessGroup>& group,
      Control& control)
      : trainer_(std::move(objective), options, std::dynamic_pointer_cast<Collectives>(group), control) {}

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
    trainer_.with_averages([&] { part(reward_, "the authors' layout").export_as_authors(path, type); });
  }

  void cache_latents(const TrainBatch& batch) override {
    trainer_.exclusively([&] { part(caching_, "a cache of latents").inputs().cache_latents(batch); });
  }
  void cache_prompts(const std::vector<PromptTokens>& prompts, Control& control) override {
    trainer_.exclusively([&] { part(caching_, "a cache of prompts").inputs().cache_prompts(prompts, control); });
  }
  void load_latents(const std::string& path, const std::vector<int64_t>& images) override {
    trainer_.exclusively([&] { part(caching_, "a cache of latents").inputs().load_latents(path, images); });
  }
  void load_prompts(const std::vector<std::string>& paths) override {
    trainer_.exclusively([&] { part(caching_, "a cache of prompts").inputs().load_prompts(paths); });
  }
  void preview(const PreviewRequest& request, Control& control) override {
    trainer_.with_averages([&] { part(flow_, "previews").preview(request, control); });
  }

 protected:
  template <class Part>
  static Part& part(Part* part, const char* what) {
    if (!part) throw Failure(Code::BadRequest, std::string("[train] ") + what + ": this objective has none");
    return *part;
  }

  Trainer trainer_;
  // The objective, as far as it is one of these.
  CachingObjective* caching_ = nullptr;
  FlowObjective* flow_ = nullptr;
  RewardObjective* reward_ = nullptr;
};

class ObjectiveRun final : public Run<Training> {
 public:
  using Run::Run;
  void is_flow(FlowObjective& objective) { caching_ = flow_ = &objective; }
  void is_reward(RewardObjective& objective) {
    caching_ = &objective;
    reward_ = &objective;
  }
};

class PolicyRun final : public Run<PolicyTraining> {
 public:
  PolicyRun(PolicyObjective& policy, std::unique_ptr<Objective> same, const TrainerOptions& options,
            const std::shared_ptr<ProcessGroup>& group, Control& control)
      : Run(std::move(same), options, group, control), policy_(policy) {}

  Rollout rollout(const RolloutRequest& request, Control& control) override {
    return trainer_.exclusively([&] { return policy_.rollout(request, control); });
  }
  double ratio_error(const std::vector<TrainBatch>& batches, Control& control) override {
    return trainer_.exclusively([&] {
      double most = 0;
      for (const auto& batch : batches) {
        control.check();
        most = std::max(most, policy_.ratio_error(batch));
      }
      return most;
    });
  }
  PolicyScores sample(const PolicySampleRequest& request, Control& control) override {
    return trainer_.with_averages([&] { return policy_.sample(request, control); });
  }

 private:
  PolicyObjective& policy_;
};

/// Makes the run of an objective that is no policy.
struct MakeRun {
  const TrainerOptions& options;
  const std::shared_ptr<ProcessGroup>& group;
  Control& control;
  at::ScalarType dtype = parse_dtype(options.dtype);
  at::Device device = parse_device(options.device);

  std::shared_ptr<ObjectiveRun> run(std::unique_ptr<Objective> objective) {
    return std::make_shared<ObjectiveRun>(std::move(objective), options, group, control);
  }
  std::shared_ptr<Training> operator()(const VaeSpec& spec) { return run(vae_objective(spec, options.seed, device)); }
  std::shared_ptr<Training> operator()(const ClipSpec& spec) { return run(clip_objective(spec, options.seed, device)); }
  std::shared_ptr<Training> operator()(const ScorerSpec& spec) {
    return run(scorer_objective(spec, options.seed, device));
  }
  std::shared_ptr<Training> operator()(const FlowSpec& spec) {
    auto objective = FlowObjective::create(spec, options.seed, device, control);
    auto& flow = *objective;
    auto made = run(std::move(objective));
    made->is_flow(flow);
    return made;
  }
  std::shared_ptr<Training> operator()(const RewardSpec& spec) {
    auto objective = RewardObjective::create(spec, options.seed, dtype, device, control);
    auto& reward = *objective;
    auto made = run(std::move(objective));
    made->is_reward(reward);
    return made;
  }
};

}  // namespace

std::shared_ptr<Training> Training::create(const ObjectiveSpec& objective, const TrainerOptions& options,
                                           const std::shared_ptr<ProcessGroup>& group, Control& control) {
  return std::visit(MakeRun{options, group, control}, objective);
}

std::shared_ptr<PolicyTraining> PolicyTraining::create(const PolicySpec& policy, const TrainerOptions& options,
                                                       const std::shared_ptr<ProcessGroup>& group, Control& control) {
  auto objective =
      PolicyObjective::create(policy, options.seed, parse_dtype(options.dtype), parse_device(options.device), control);
  auto& same = *objective;
  return std::make_shared<PolicyRun>(same, std::move(objective), options, group, control);
}

}  // namespace drm
