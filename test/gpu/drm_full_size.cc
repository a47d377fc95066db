// Speed and memory of SD3.5-Medium's networks at full size, with weights drawn on the device: no files, no Node.
//
//   drm_full_size [--device cuda|cpu] [--small] [--steps N] [--stage NAME]...
//
// One JSON object a line. FLOP are counted from the layers' shapes (2 a multiply-add), bytes as each input read and each
// output written once. `--small` is a rehearsal of every stage on a CPU, in seconds. A stage that fails prints {"stage",
// "error"} and the others go on; the exit status is then 1. It is long because the stages share one set of networks, which
// takes longer to load than any of them to run.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <set>
#include <sstream>

#include "common/stopwatch.h"
#include "flow/sampler.h"
#include "models/sd3/sd3.h"
#include "nn/attention.h"
#include "nn/autocast.h"
#include "lora/adapter.h"
#include "nn/modulation.h"
#include "api/pipeline.h"
#include "profile.h"
#include "reward/bradley_terry.h"
#include "reward/reward_net.h"
#include "rl/policy_loss.h"
#include "runtime/runtime.h"
#include "optim/optimizer.h"
#if __has_include(<cuda_runtime_api.h>)
#include <c10/cuda/CUDAFunctions.h>
#define DRM_SYNC_DEBUG 1
#endif

namespace drm {
namespace {

struct Options {
  at::Device device = at::kCUDA;
  bool small = false;
  int64_t steps = 50;
  std::set<std::string> stages;
};

class Line {
 public:
  explicit Line(const std::string& stage) { text_ << std::boolalpha << "{\"stage\":\"" << stage << '"'; }
  ~Line() { std::cout << text_.str() << "}" << std::endl; }
  template <class T>
  Line& with(const char* key, T value) {
    text_ << ",\"" << key << "\":";
    if constexpr (std::is_convertible_v<T, std::string>)
      text_ << '"' << value << '"';
    else
      text_ << value;
    return *this;
  }

 private:
  std::ostringstream text_;
};

struct Sizes {
  MMDiTConfig network;
  int64_t latent = 64, text = 333, keep = 21;
  RewardHeadConfig head;
  int64_t image() const { return (latent / network.patch_size) * (latent / network.patch_size); }
};

Sizes sizes_of(bool small) {
  Sizes s;
  auto& c = s.network;
  c.num_layers = small ? 4 : 24;
  c.heads = small ? 2 : 24;
  c.joint_attention_dim = small ? 64 : 4096;
  c.pooled_projection_dim = small ? 32 : 2048;
  c.pos_embed_max_size = small ? 16 : 384;
  if (small) c.sample_size = 16;
  for (int64_t i = 0; i < (small ? 2 : 13); ++i) c.dual_attention_layers.push_back(i);
  s.head = small ? RewardHeadConfig{8, 4, 16, 0.1} : RewardHeadConfig{256, 32, 512, 0.1};
  if (small) s.latent = 16, s.text = 9, s.keep = 3;
  return s;
}

/// FLOP of one row through the network's blocks and ends; the prompt's own embedding, once an image, is left out.
double flop_of_row(VelocityModel& model, const Sizes& s) {
  double flop = 0;
  auto& m = dynamic_cast<Sd3&>(model).network();
  each(m, [&](const std::string& name, auto& leaf) {
    if constexpr (std::is_same_v<std::decay_t<decltype(leaf)>, Linear>) {
      const bool once = name.find("norm") != std::string::npos || name.starts_with("time_text");
      const bool text = name.find(".add_") != std::string::npos || name.find("to_add_out") != std::string::npos ||
                        name.find("ff_context") != std::string::npos;
      if (name == "context_embedder") return;
      flop += 2.0 * static_cast<double>(leaf.weight.numel() * (once ? 1 : text ? s.text : s.image()));
    }
  });
  const auto image = static_cast<double>(s.image()), both = image + static_cast<double>(s.text);
  for (const auto& b : m.blocks) {
    const auto queries = b.cut ? image : both;
    flop += 4.0 * queries * both * static_cast<double>(m.config.width());
    if (b.dual) flop += 4.0 * image * image * static_cast<double>(m.config.width());
  }
  return flop;
}

template <class Model>
void draw_weights(Model& m, at::TensorOptions options) {
  each_tensor(m, [&](const std::string& name, Tensor& t) {
    const auto shape = t.sizes().vec();
    const auto fan_in = shape.size() > 1 ? t.numel() / shape[0] : 1;
    t = shape.size() > 1           ? at::randn(shape, options) / std::sqrt(static_cast<double>(fan_in))
        : name.ends_with(".bias") ? at::zeros(shape, options)
                                  : at::ones(shape, options);
  });
}

class Bench {
 public:
  explicit Bench(Options o)
      : o_(std::move(o)), s_(sizes_of(o_.small)), dtype_(o_.device.is_cuda() ? at::kBFloat16 : at::kFloat) {}

  int run() {
    stage("machine", [&] { machine(); });
    stage("ceilings", [&] { ceilings(); });
    stage("load", [&] { load(); });
    stage("forward", [&] { forward(); });
    stage("gemm", [&] { gemm(); });
    stage("attention", [&] { attention(); });
    stage("kernels", [&] { kernels(); });
    stage("twice", [&] { twice(); });
    stage("waits", [&] { waits(); });
    stage("sample", [&] { sample(); });
    stage("train reward", [&] { train_reward(); });
    stage("update policy", [&] { update_policy(); });
    return failed_;
  }

 private:
  /// What a warm call spends its time on; of `calls` kernels in all.
  void profiled(const char* what, const std::function<void()>& call) const {
    call();
    const auto all = profile(o_.device, [&] {
      call();
      synchronize();
    });
    int64_t calls = 0;
    double seconds = 0;
    for (const auto& k : all) {
      calls += k.calls;
      seconds += k.seconds;
    }
    Line("profile").with("of", what).with("kernels", calls).with("ms", 1e3 * seconds);
    for (size_t i = 0; i < std::min<size_t>(all.size(), 16); ++i)
      Line("profile")
          .with("of", what)
          .with("kernel", all[i].name)
          .with("calls", all[i].calls)
          .with("ms", 1e3 * all[i].seconds);
  }

  template <class F>
  void stage(const char* name, F work) {
    static const std::set<std::string> needed = {"ceilings", "load"};
    if (!o_.stages.empty() && !o_.stages.contains(name) && !needed.contains(name)) return;
    const Stopwatch clock;
    try {
      work();
      synchronize();
      Line("done").with("of", std::string(name)).with("seconds", clock.seconds()).with("peak_gib", peak_gib());
    } catch (const std::exception& e) {
      std::string what = e.what();
      what = what.substr(0, what.find('\n'));
      std::replace(what.begin(), what.end(), '"', '\'');
      Line(name).with("error", what);
      failed_ = 1;
    }
  }

  void synchronize() const {
    if (!o_.device.is_cpu()) c10::impl::VirtualGuardImpl(o_.device.type()).synchronizeDevice(o_.device.index());
  }

  double peak_gib() const {
    if (o_.device.is_cpu()) return 0;
    at::empty({1}, options());  // the allocator's counters begin with its first use
    auto* allocator = c10::getDeviceAllocator(o_.device.type());
    const auto stats = allocator->getDeviceStats(o_.device.index());
    allocator->resetPeakStats(o_.device.index());
    return static_cast<double>(stats.allocated_bytes[0].peak) / (1 << 30);
  }

  /// Median seconds of a call, and seconds until the call returned with its work queued.
  template <class F>
  std::pair<double, double> time(F call) const {
    for (int i = 0; i < 2; ++i) call();
    synchronize();
    std::vector<double> whole, queued;
    const Stopwatch total;
    while (whole.size() < 3 || (whole.size() < 20 && total.seconds() < 0.4)) {
      const Stopwatch clock;
      call();
      queued.push_back(clock.seconds());
      synchronize();
      whole.push_back(clock.seconds());
    }
    const auto median = [](std::vector<double>& v) {
      std::nth_element(v.begin(), v.begin() + static_cast<int64_t>(v.size() / 2), v.end());
      return v[v.size() / 2];
    };
    return {median(whole), median(queued)};
  }

  at::TensorOptions options() const { return at::TensorOptions().device(o_.device).dtype(dtype_); }
  Tensor random(at::IntArrayRef shape) const { return at::randn(shape, options()); }

  TextEmbedding text_of(const VelocityModel& m, int64_t rows) const {
    return m.embed_text({random({rows, s_.text, s_.network.joint_attention_dim}), random({rows, s_.network.pooled_projection_dim})});
  }
  Tensor latents(int64_t rows) const {
    return at::randn({rows, s_.network.in_channels, s_.latent, s_.latent}, options().dtype(at::kFloat));
  }

  void machine() {
    const auto r = runtime_info();
    Line line("machine");
    line.with("libtorch", r.libtorch).with("kernels", r.cuda_kernels ? "true" : "false");
    if (!r.gpus.empty()) line.with("gpu", r.gpus[0].name).with("capability", r.gpus[0].capability);
    line.with("cuda_error", r.cuda_error);
  }

  void ceilings() {
    const int64_t n = o_.small ? 256 : 8192;
    const auto a = random({n, n}), b = random({n, n});
    const auto product = time([&] { at::mm(a, b); }).first;
    matrix_ = 2.0 * static_cast<double>(n * n * n) / product;
    const auto from = random({o_.small ? 1 << 16 : 1LL << 30});
    auto to = at::empty_like(from);
    copy_ = 2.0 * static_cast<double>(from.nbytes()) / time([&] { to.copy_(from); }).first;
    Line("ceilings").with("matrix_tflops", matrix_ / 1e12).with("copy_gb_s", copy_ / 1e9);
  }

  void fill_positions(VelocityModel& model, const at::TensorOptions& like) const {
    dynamic_cast<Sd3&>(model).network().positions.value = position_table(s_.network).to(like);
  }

  void make_policy() {
    policy_ = std::make_unique<Sd3>(make_mmdit(s_.network));
    draw_weights(*policy_, options());
    fill_positions(*policy_, options());
  }

  void load() {
    make_policy();
    RewardConfig c;
    c.backbone = sd3_config(s_.network);
    c.keep_layers = s_.keep;
    c.head = s_.head;
    reward_ = make_reward_net(c);
    draw_weights(reward_, options());
    fill_positions(*reward_.backbone, options());
    Line("load")
        .with("policy_parameters", size_of(*policy_).parameters)
        .with("reward_parameters", size_of(reward_).parameters)
        .with("tflop_policy_row", flop_of_row(*policy_, s_) / 1e12)
        .with("tflop_reward_row", flop_of_row(*reward_.backbone, s_) / 1e12);
  }

  Tensor timesteps(int64_t rows) const { return at::full({rows}, 500.0, options().dtype(at::kFloat)); }

  void forward() {
    const at::InferenceMode no_grad;
    for (const int64_t rows : {1, 2, 4, 6, 8, 16}) {
      const auto text = text_of(*policy_, rows);
      const auto x = latents(rows).to(dtype_);
      const auto t = timesteps(rows);
      const auto [seconds, queued] = time([&] { policy_->velocity(x, t, text); });
      speed("forward", "policy", rows, seconds, queued, flop_of_row(*policy_, s_) * static_cast<double>(rows));
      if (rows != 2 && rows != 6) continue;
      const auto reward_text = text_of(*reward_.backbone, rows);
      const auto [s, q] = time([&] { reward(reward_, x, t, reward_text); });
      speed("forward", "reward", rows, s, q, flop_of_row(*reward_.backbone, s_) * static_cast<double>(rows));
    }
  }

  void speed(const char* stage, const std::string& what, int64_t rows, double seconds, double queued, double flop) {
    Line(stage)
        .with("what", what)
        .with("rows", rows)
        .with("ms", 1e3 * seconds)
        .with("queued_ms", 1e3 * queued)
        .with("tflops", flop / seconds / 1e12)
        .with("share_of_matrix_rate", flop / seconds / matrix_);
  }

  void gemm() {
    const at::InferenceMode no_grad;
    const auto d = s_.network.width();
    for (const int64_t rows : {2, 6})
      for (const auto& [name, in, out] : std::vector<std::tuple<const char*, int64_t, int64_t>>{
               {"q, k, v, out", d, d}, {"q, k, v at once", d, 3 * d}, {"ff in", d, 4 * d}, {"ff out", 4 * d, d}}) {
        const auto x = random({rows, s_.image(), in}), w = random({out, in}), b = random({out});
        const auto [s, q] = time([&] { at::linear(x, w, b); });
        speed("gemm", name, rows, s, q, 2.0 * static_cast<double>(rows * s_.image() * in * out));
      }
  }

  void attention() {
    const at::InferenceMode no_grad;
    auto& context = at::globalContext();
    const auto tokens = s_.image() + s_.text;
    const auto q = random({6, s_.network.heads, tokens, s_.network.head_dim});
    const auto flop = 4.0 * 6 * static_cast<double>(tokens * tokens * s_.network.width());
    const auto only = [&](bool flash, bool efficient, bool cudnn) {
      context.setSDPUseFlash(flash);
      context.setSDPUseMemEfficient(efficient);
      context.setSDPUseCuDNN(cudnn);
      context.setSDPUseMath(!flash && !efficient && !cudnn);
    };
    for (const auto& [name, flash, efficient, cudnn] : std::vector<std::tuple<const char*, bool, bool, bool>>{
             {"flash", true, false, false},
             {"efficient", false, true, false},
             {"cudnn", false, false, true},
             {"math", false, false, false}}) {
      only(flash, efficient, cudnn);
      try {
        const auto [s, queued] = time([&] { attend(q, q, q); });
        speed("attention", name, 6, s, queued, flop);
      } catch (const std::exception&) {
        Line("attention").with("what", name).with("not_available", true);
      }
    }
    only(true, true, true);
    context.setSDPUseMath(true);
    const auto [s, queued] = time([&] { attend(q, q, q); });
    speed("attention", "as chosen", 6, s, queued, flop);
  }

  void bandwidth(const char* what, double seconds, double bytes) {
    Line("kernels")
        .with("what", what)
        .with("us", 1e6 * seconds)
        .with("gb_s", bytes / seconds / 1e9)
        .with("share_of_copy", bytes / seconds / copy_);
  }

  void kernels() {
    const at::InferenceMode no_grad;
    const auto d = s_.network.width();
    const int64_t rows = o_.small ? 2 : 48;  // beyond the caches
    const auto x = random({rows, s_.image(), d}), y = random({rows, s_.image(), d});
    const auto shift = random({rows, d}), scale = random({rows, d});
    const auto bytes = static_cast<double>(x.nbytes());
    bandwidth("modulated_norm", time([&] { modulated_norm(x, shift, scale); }).first, 2 * bytes);
    bandwidth("modulated_norm composite", time([&] { composite::modulated_norm(x, shift, scale); }).first, 2 * bytes);
    bandwidth("gated_add", time([&] { gated_add(x, shift, y); }).first, 3 * bytes);
    bandwidth("gated_add composite", time([&] { composite::gated_add(x, shift, y); }).first, 3 * bytes);
    const auto heads = split_heads(x, s_.network.heads);
    const auto w = random({s_.network.head_dim});
    bandwidth("qk_norm", time([&] { qk_norm(heads, w); }).first, 2 * bytes);
    bandwidth("qk_norm composite", time([&] { composite::qk_norm(heads, w); }).first, 2 * bytes);

    const auto schedule = sampling_schedule({}, 50);
    const auto step = sde_step(schedule.sigmas, 10, 0.7);
    for (const int64_t batch : {int64_t{1}, o_.small ? int64_t{2} : int64_t{512}}) {
      const int64_t k = 6;
      const auto z = latents(batch);
      const GuidedVelocity v{z.to(dtype_), z.to(dtype_), 4.5};
      const auto keys = branch_keys(std::vector<uint64_t>(static_cast<size_t>(batch), 7),
                                    std::vector<int64_t>(static_cast<size_t>(batch)), o_.device);
      const auto read = static_cast<double>(z.nbytes()), halves = 2.0 * static_cast<double>(v.conditional.nbytes());
      const auto name = " of " + std::to_string(batch) + " x 6";
      bandwidth(("branch" + name).c_str(), time([&] { branch(z, v, step, keys, 10, k); }).first,
                read + halves + k * read);
      const auto candidates = branch(z, v, step, keys, 10, k);
      const auto scores = at::randn({batch, k}, z.options());
      auto unscored = at::full({batch}, -1, z.options().dtype(at::kInt));
      bandwidth(("select" + name).c_str(), time([&] { select(candidates, scores, {}, 10, unscored); }).first, 2 * read);
    }
  }

  /// Final latents of one image by k candidates a step, and the wall time of the loop.
  std::pair<Tensor, double> image(int64_t k, int64_t steps) {
    const at::InferenceMode no_grad;
    const auto schedule = sampling_schedule({}, steps);
    const auto to = [&](const Tensor& t) { return t.to(options()); };
    auto generator = at::make_generator<at::CPUGeneratorImpl>(3);
    const auto draw = [&](at::IntArrayRef shape) { return to(at::randn(shape, generator)); };
    const auto embeds = [&](const VelocityModel& m) {
      return m.embed_text({draw({1, s_.text, s_.network.joint_attention_dim}), draw({1, s_.network.pooled_projection_dim})});
    };
    const Conditioning text{embeds(*policy_), embeds(*policy_)};
    const auto reward_text = embeds(*reward_.backbone);
    const Guidance guidance{4.5, {}};
    Stepwise stepwise;
    stepwise.k = k;
    stepwise.seeds = {11};
    if (k > 1)
      stepwise.score = [&](const Tensor& x, double sigma, const std::vector<int64_t>& of) {
        const auto rows = static_cast<int64_t>(of.size());
        return reward(reward_, x.to(dtype_), at::full({rows}, 1000 * sigma, x.options()),
                      {reward_text.context_BLD.expand({rows, -1, -1}), reward_text.pooled_BD.expand({rows, -1})});
      };
    auto x = initial_latents(5, s_.network.in_channels, s_.latent, s_.latent, dtype_).to(o_.device);
    synchronize();
    const Stopwatch clock;
    x = denoise(network_policy(*policy_, text, schedule, guidance), x, schedule, stepwise, Control());
    synchronize();
    return {x, clock.seconds()};
  }

  void twice() {
    for (const int64_t k : {1, 6}) {
      const auto a = image(k, 4).first, b = image(k, 4).first;
      Line("twice")
          .with("k", k)
          .with("same_bits", at::equal(a, b))
          .with("largest_difference", (a - b).abs().max().item<double>())
          .with("finite", at::isfinite(a).all().item<bool>());
    }
  }

  /// With candidates nothing may wait for the device between the steps: libtorch throws at what does.
  void waits() {
#ifdef DRM_SYNC_DEBUG
    if (o_.device.is_cuda()) {
      const at::InferenceMode no_grad;
      const auto schedule = sampling_schedule({}, 3);
      const auto keys = branch_keys({7}, {0}, o_.device);
      auto unscored = at::full({1}, -1, at::TensorOptions().device(o_.device).dtype(at::kInt));
      const auto text = text_for_guidance({text_of(*policy_, 1), text_of(*policy_, 1)}, 4.5);
      const auto reward_text = text_of(*reward_.backbone, 6);
      auto x = latents(1);
      auto& state = c10::cuda::warning_state();
      for (const bool strict : {false, true}) {  // the first pass makes handles and plans
        state.set_sync_debug_mode(strict ? c10::cuda::SyncDebugMode::L_ERROR : c10::cuda::SyncDebugMode::L_DISABLED);
        try {
          for (int64_t i = 0; i < 2; ++i) {
            const auto v = guided_velocity(*policy_, x, schedule.timesteps[static_cast<size_t>(i)], text, 4.5);
            const auto b = branch(x, v, sde_step(schedule.sigmas, i, 0.7), keys, i, 6);
            const auto t = at::full({6}, 500.0, x.options());
            const auto scores = reward(reward_, b.flatten(0, 1).to(dtype_), t, reward_text);
            x = select(b, scores.view({1, 6}), {}, i, unscored).latents;
          }
        } catch (...) {
          state.set_sync_debug_mode(c10::cuda::SyncDebugMode::L_DISABLED);
          throw;
        }
        state.set_sync_debug_mode(c10::cuda::SyncDebugMode::L_DISABLED);
      }
      Line("waits").with("in_the_k_loop", 0);
      return;
    }
#endif
    Line("waits").with("not_checked", "needs a CUDA device and its headers");
  }

  void sample() {
    const auto policy_row = flop_of_row(*policy_, s_), reward_row = flop_of_row(*reward_.backbone, s_);
    double of_one = 0;
    for (const int64_t k : {1, 2, 4, 6}) {
      image(k, 2);
      const auto seconds = image(k, o_.steps).second;
      if (k == 1) of_one = seconds;
      const auto scored = k > 1 ? static_cast<double>(k * (o_.steps - 1)) : 0;
      const auto flop = 2 * policy_row * static_cast<double>(o_.steps) + reward_row * scored;
      Line("sample")
          .with("k", k)
          .with("steps", o_.steps)
          .with("seconds", seconds)
          .with("over_k1", seconds / of_one)
          .with("ms_a_step", 1e3 * seconds / static_cast<double>(o_.steps))
          .with("share_of_matrix_rate", flop / seconds / matrix_);
    }
    profiled("3 steps of K = 6", [&] { image(6, 3); });
  }

  /// Bradley–Terry on a pair, all weights trained, as `drm train` runs it: fp32 weights under autocast, AdamW.
  void train_reward() {
    policy_.reset();
    auto net = make_reward_net(reward_.config);
    draw_weights(net, options().dtype(at::kFloat));
    fill_positions(*net.backbone, options().dtype(at::kFloat));
    NamedTensors parameters;
    each(net, [&](const std::string& name, auto& leaf) {
      if constexpr (!std::is_same_v<std::decay_t<decltype(leaf)>, Buffer>)
        each_tensor(name, leaf, [&](const std::string& key, Tensor& t) {
          t.requires_grad_(true);
          parameters.emplace_back(key, t);
        });
    });
    AdamW optimizer(parameters, {1e-5});
    const int64_t pairs = 2;
    const auto embeds = at::randn({2 * pairs, s_.text, s_.network.joint_attention_dim}, options().dtype(at::kFloat));
    const auto pooled = at::randn({2 * pairs, s_.network.pooled_projection_dim}, options().dtype(at::kFloat));
    const auto x = latents(2 * pairs);
    for (const bool recompute : {false, true}) {
      const auto step = [&] {
        const Autocast autocast(o_.device.type(), at::kBFloat16);
        TrainingOptions training;
        training.recompute = recompute;
        const auto scores =
            reward_of_pairs(net, x, timesteps(2 * pairs), net.backbone->embed_text({embeds, pooled}), training);
        preference_loss(scores.chosen, scores.rejected).mean().backward();
        clip_gradients(parameters, 1);
        optimizer.step();
        optimizer.zero_gradients();
      };
      const auto [seconds, queued] = time(step);
      speed("train reward", recompute ? "checkpointing" : "plain", pairs, seconds, queued,
            3 * flop_of_row(*net.backbone, s_) * 2 * static_cast<double>(pairs));
      Line("train reward").with("pairs_a_second", static_cast<double>(pairs) / seconds).with("peak_gib", peak_gib());
      if (!recompute) profiled("a training step", step);
    }
  }

  /// One step of GRPO's update: 6 candidates of one state, LoRA on the attention, the base in bf16.
  void update_policy() {
    reward_.backbone.reset();
    make_policy();
    const auto layers = find_targets(*policy_, LoraConfig{}.targets);
    auto generator = at::make_generator<at::CPUGeneratorImpl>(1);
    add_lora(layers, LoraConfig{}, generator);
    auto parameters = lora_tensors(layers);
    for (auto& [name, t] : parameters) t.requires_grad_(true);
    AdamW optimizer(parameters, {1e-4});
    const auto schedule = sampling_schedule({}, 10);
    const auto step = noisy_step(StepNoise::Sde, schedule.sigmas, 3, 0.7);
    for (const int64_t states : {1, 4}) {
      const auto z = latents(states);
      const auto text = text_of(*policy_, 2 * states);
      const auto candidates = z.unsqueeze(1) + at::randn({states, 6, z.size(1), z.size(2), z.size(3)}, z.options());
      const auto advantages = at::randn({states, 6}, z.options());
      const auto update = [&] {
        const auto v = guided(guided_velocity(*policy_, z, schedule.timesteps[3], text, 4.5));
        const auto mean = step.cx * z + step.cv * v;
        const auto log_prob = candidate_log_prob(StepNoise::Sde, candidates, mean, step);
        policy_loss(log_prob, log_prob.detach(), advantages, {}, {}).total.backward();
        clip_gradients(parameters, 1);
        optimizer.step();
        optimizer.zero_gradients();
      };
      const auto [seconds, queued] = time(update);
      speed("update policy", "states x 6 candidates", states, seconds, queued,
            2 * flop_of_row(*policy_, s_) * 2 * static_cast<double>(states));  // no gradients of the base's weights
      if (states == 1) profiled("an update", update);
    }
  }

  Options o_;
  Sizes s_;
  at::ScalarType dtype_;
  std::unique_ptr<Sd3> policy_;
  RewardNet reward_;
  double matrix_ = 1, copy_ = 1;
  int failed_ = 0;
};

}  // namespace
}  // namespace drm

int main(int argc, char** argv) {
  drm::Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const bool more = i + 1 < argc;
    if (arg == "--small") {
      o.small = true;
      o.steps = 4;
    } else if (arg == "--device" && more) {
      o.device = at::Device(argv[++i]);
    } else if (arg == "--steps" && more) {
      o.steps = std::stoll(argv[++i]);
    } else if (arg == "--stage" && more) {
      o.stages.insert(argv[++i]);
    } else {
      std::fprintf(stderr, "usage: drm_full_size [--device cuda|cpu] [--small] [--steps N] [--stage NAME]...\n");
      return 2;
    }
  }
  if (o.device.is_cuda() && !o.device.has_index()) o.device = at::Device(at::kCUDA, 0);
  return drm::Bench(o).run();
}
