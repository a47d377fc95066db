#include "api/pipeline.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "api/candidates.h"
#include "api/decoded_scorer.h"
#include "api/first_latents.h"
#include "api/prompt_chunks.h"
#include "api/reward_model.h"
#include "common/stopwatch.h"
#include "flow/sampler.h"
#include "lora/applied_loras.h"
#include "models/encode_prompts.h"
#include "models/latent_size.h"
#include "models/pass_budget.h"
#include "models/registry.h"
#include "reward/reward_scorer.h"
#include "runtime/device.h"
#include "runtime/runtime.h"
#include "tensor_io/json.h"
#include "vae/images.h"
#include "vae/vae_keys.h"

namespace drm {
namespace {

void require_writable(const std::string& path) {
  // A file is renamed into place, which would replace a device or fail on a folder.
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored))
    throw Failure(Code::Disk,
                  "[sample] " + path +
                      ": expected the name of a file, found a folder or a device; name a .safetensors "
                      "file",
                  {{"file", path}});
  // Before minutes of work, not after: is there a folder to put the file in?
  std::ofstream probe(path + ".probe");
  if (!probe)
    throw Failure(Code::Disk,
                  "[sample] " + path + ": cannot be written; does its folder exist, and may you write to it?",
                  {{"file", path}});
  probe.close();
  std::remove((path + ".probe").c_str());
}

class LoadedPipeline final : public Pipeline {
 public:
  LoadedPipeline(const PipelineSource& source, const LoadOptions& options, Control& control)
      : device_(parse_device(options.device)), dtype_(parse_dtype(options.dtype)), source_(source) {
    if (!source.transformer.present()) throw Failure(Code::BadRequest, "[load] no transformer weights were given");
    if (!source.vae.present()) throw Failure(Code::BadRequest, "[load] no VAE weights were given");
    if (!source.text_encoder.present() || !source.text_encoder_2.present())
      throw Failure(Code::BadRequest,
                    "[load] expected CLIP-L and CLIP-G (text_encoder, text_encoder_2), found no weights for " +
                        std::string(source.text_encoder.present() ? "CLIP-G" : "CLIP-L"));
    // Plans first: a wrong config or a missing file shows before gigabytes are read.
    scheduler_ = read_scheduler_config(source.scheduler_config);
    const auto transformer = Weights::open(source.transformer.weights, velocity_keys);
    model_ = velocity_config_of(source.transformer.config, transformer).plan(0);
    const auto vae = Weights::open(source.vae.weights, vae_keys);
    vae_ = make_vae(vae_config_of(source.vae.config, vae));
    if (vae_.config.latent_channels != model_->info().in_channels)
      throw Failure(Code::BadConfig, "[load] VAE of " + vae.description() + ": expected " +
                                         std::to_string(model_->info().in_channels) +
                                         " latent channels as the transformer has, found " +
                                         std::to_string(vae_.config.latent_channels));
    auto encoders = plan_text_encoders(source);
    const auto loras = read_loras(*model_, options.loras);
    info_.transformer_parameters = size_of(*model_).parameters;
    info_.vae_parameters = size_of(vae_).parameters;
    info_.text_encoder_parameters = encoders.parameters();
    const auto vae_dtype = vae_.config.dtype_of(dtype_);
    info_.weight_bytes = static_cast<int64_t>(bytes_of(wanted(*model_), dtype_) + bytes_of(wanted(vae_), vae_dtype)) +
                         encoders.bytes(dtype_);

    const Stopwatch clock;
    uint64_t before = 0;
    const auto progress = [&](uint64_t component_done, uint64_t component_total) {
      control.check();
      control.report({"load", static_cast<int64_t>(before + component_done), info_.weight_bytes, clock.seconds()});
      if (component_done == component_total) before += component_total;
    };
    encoders_ = load_text_encoders(std::move(encoders), dtype_, device_, progress);
    load_vae(vae_, vae, vae_dtype, device_, progress);
    load_velocity_model(*model_, transformer, dtype_, device_, progress);
    use_loras(*model_, loras, options.loras);
    info_.loras = describe(loras, options.loras);
    if (!reads_pooled_of(model_->info(), encoders_))
      throw Failure(Code::BadConfig, "[load] text encoders: expected pooled embeds of width " +
                                         std::to_string(model_->info().pooled_width) +
                                         " as the transformer takes, found " +
                                         std::to_string(encoders_.pooled_width()) + "; they belong to another model");

    info_.device = device_.str();
    info_.dtype = options.dtype;
    info_.layers = model_->info().layers;
    info_.width = model_->info().width;
    info_.latent_channels = vae_.config.latent_channels;
    info_.vae_factor = vae_.config.factor();
    info_.patch = model_->info().patch_size;
    info_.default_size = model_->info().default_size * info_.vae_factor;
    info_.has_t5 = encoders_.t5.has_value();
    info_.attention = runtime_info().attention;
  }

  const PipelineInfo& info() const override { return info_; }

  SampleSummary sample(const SampleRequest& r, Control& control) override {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    return guarded([&] { return sample_locked(r, control); });
  }

 private:
  struct Latents {
    int64_t height, width;
  };

  Latents check(const SampleRequest& r) const {
    const auto side = [&](int64_t asked, const char* name) {
      return latent_side(model_->info(), info_.vae_factor, asked, std::string("[sample] ") + name);
    };
    const Latents size{side(r.height, "height"), side(r.width, "width")};
    if (r.steps < 1)
      throw Failure(Code::BadRequest, "[sample] steps: expected at least 1, found " + std::to_string(r.steps));
    if (r.batch < 0)
      throw Failure(Code::BadRequest,
                    "[sample] batch: expected 0 (automatic) or more, found " + std::to_string(r.batch));
    if (!std::isfinite(r.guidance)) throw Failure(Code::BadRequest, "[sample] guidance: expected a finite number");
    if (r.images.empty()) throw Failure(Code::BadRequest, "[sample] no images were asked for");
    if (r.t5_length < (info_.has_t5 ? 1 : 0) || r.t5_length > 4096)
      throw Failure(Code::BadRequest,
                    "[sample] T5 length: expected " + std::string(info_.has_t5 ? "1" : "0") +
                        " to 4096 tokens, found " + std::to_string(r.t5_length) +
                        (r.t5_length == 0 ? "; only a model without T5 can leave its tokens out" : ""));
    for (const auto& p : r.images)
      if (p.prompt < 0 || p.prompt >= static_cast<int64_t>(r.prompts.size()) ||
          (r.guidance > 1 && (p.negative < 0 || p.negative >= static_cast<int64_t>(r.negatives.size()))))
        throw Failure(Code::Internal, "[sample] an image names a prompt that the request does not hold");
    const auto clip_length = clip_tokens(r), longest = encoders_.clip_positions();
    if (clip_length < 1 || clip_length > longest)
      throw Failure(Code::BadRequest, "[sample] CLIP token ids: expected 1 to " + std::to_string(longest) +
                                          " (max_position_embeddings), found " + std::to_string(clip_length) +
                                          "; model_max_length in tokenizer_config.json must fit the encoder");
    if (r.guidance > 1 && static_cast<int64_t>(r.negatives.front().clip_l.size()) != clip_length)
      throw Failure(Code::BadRequest, "[sample] negative prompts: expected " + std::to_string(clip_length) +
                                          " CLIP token ids as the prompts have, found " +
                                          std::to_string(r.negatives.front().clip_l.size()));
    require_lengths(encoders_, r.prompts, r.t5_length);
    if (r.guidance > 1) require_lengths(encoders_, r.negatives, r.t5_length);
    if (r.skip_layers)
      for (const auto layer : r.skip_layers->layers)
        if (layer < 0 || layer >= info_.layers)
          throw Failure(Code::BadRequest, "[sample] skip layers: expected 0 to " + std::to_string(info_.layers - 1) +
                                              ", found " + std::to_string(layer));
    if (r.stepwise && r.stepwise->k > 1) check(*r.stepwise, r, size);
    return size;
  }

  static void check(const ImageGuide& guide, const SampleRequest& r) {
    const auto rows = static_cast<int64_t>(guide.rows.size());
    if (!guide.scorer || !(guide.factor > 0) || guide.row_of.size() != (rows ? r.images.size() : 0) ||
        std::any_of(guide.row_of.begin(), guide.row_of.end(), [&](int64_t row) { return row < 0 || row >= rows; }))
      throw Failure(Code::Internal, "[sample] a scorer that chooses without a prompt for each image");
  }

  void check(const StepwiseRequest& s, const SampleRequest& r, const Latents& size) const {
    if (s.guide) return check(*s.guide, r);
    if (!s.reward)
      throw Failure(Code::BadRequest, "[sample] k: expected 1 without a reward model, found " + std::to_string(s.k));
    if (s.reward->info().device != info_.device)
      throw Failure(Code::BadRequest, "[sample] reward model: expected it on " + info_.device +
                                          " as the pipeline, found " + s.reward->info().device);
    const auto shared = s.reward->net();
    const auto& net = *shared;
    require_same_base(net, model_->info());
    const auto patches = std::max(size.height, size.width) / info_.patch;
    if (patches > net.backbone->info().most_patches)
      throw Failure(Code::BadRequest, "[sample] size: the reward model reads at most " +
                                          std::to_string(net.backbone->info().most_patches) +
                                          " patches a side (its position table), found " + std::to_string(patches));
    if (!s.prompts.empty() && s.prompts.size() != r.prompts.size())
      throw Failure(Code::Internal, "[sample] other prompts for the reward model than for the policy");
  }

  /// The ids say themselves how long they are; encoding checks that all prompts agree.
  static int64_t clip_tokens(const SampleRequest& r) { return static_cast<int64_t>(r.prompts.front().clip_l.size()); }

  /// Images a network call: enough to keep the device busy, few enough to bound memory. Results do not depend on it
  /// beyond rounding.
  int64_t batch_size(const SampleRequest& r, const Latents& size) const {
    const auto images = static_cast<int64_t>(r.images.size());
    if (r.batch) return std::min(r.batch, images);
    const auto tokens = size.height * size.width / (info_.patch * info_.patch) + clip_tokens(r) + r.t5_length;
    return std::min(rows_per_pass(PassBudget::Sampling, tokens), images);
  }

  /// The texts of a chunk, as the policy and the reward model read them; undefined where they are not needed.
  struct Texts {
    TextEmbedding conditional, unconditional, read_by_reward;
  };

  Texts embed(const SampleRequest& r, const PromptChunk& chunk, const Control& control) {
    if (!encoders_.loaded)  // given back after an earlier call
      encoders_ = load_text_encoders(plan_text_encoders(source_), dtype_, device_,
                                     [&](uint64_t, uint64_t) { control.check(); });
    const auto encode = [&](const std::vector<PromptTokens>& all, const TextRows& rows, int64_t t5_length) {
      std::vector<PromptTokens> some;
      for (const auto text : rows.texts) some.push_back(all[static_cast<size_t>(text)]);
      return encode_prompts(*model_, encoders_, some, t5_length, device_, control);
    };
    Texts t;
    const auto prompts = encode(r.prompts, chunk.prompts, r.t5_length);
    t.conditional = model_->embed_text(prompts);
    if (r.guidance > 1) t.unconditional = model_->embed_text(encode(r.negatives, chunk.negatives, r.t5_length));
    if (r.stepwise && r.stepwise->k > 1 && !r.stepwise->guide) {
      // Its own number of T5 tokens, its own embedders. Prompts that came without tokens of another length serve only
      // where the lengths agree, or T5 is absent.
      const auto shared = r.stepwise->reward->net();
      const auto& net = *shared;
      const auto length = net.config.t5_length;
      const auto& own = r.stepwise->prompts.empty() ? r.prompts : r.stepwise->prompts;
      t.read_by_reward = embed_for_reward(net, length == r.t5_length ? prompts : encode(own, chunk.prompts, length));
    }
    if (r.free_encoders) encoders_.free();
    return t;
  }

  /// One call of sample().
  struct Sampling {
    const SampleRequest& r;
    Latents size;
    Schedule schedule;
    Guidance guidance;
    int64_t batches;
    SampleSummary s;
  };

  /// For images begin..begin + n of the request.
  static BatchJudge judge_of(const ImageGuide& guide, int64_t begin, int64_t n) {
    BatchJudge judge{guide.scorer, {}, guide.factor};
    if (!guide.rows.empty())
      for (int64_t i = begin; i < begin + n; ++i)
        judge.rows.push_back(guide.rows[static_cast<size_t>(guide.row_of[static_cast<size_t>(i)])]);
    return judge;
  }

  Stepwise stepwise_of(const Sampling& run, const Conditioning& text, TextEmbedding read_by_reward, int64_t begin,
                       int64_t n, const Control& control) const {
    Stepwise w;
    for (int64_t i = begin; i < begin + n; ++i) w.seeds.push_back(run.r.images[static_cast<size_t>(i)].seed);
    if (!run.r.stepwise) return w;
    const auto& asked = *run.r.stepwise;
    w.k = asked.k;
    w.sde = asked.k == 1;
    w.noise_level = asked.noise_level;
    w.temperature = asked.temperature;
    w.score_from = asked.score_from;
    w.score_until = asked.score_until;
    if (w.k == 1) return w;
    const CandidateView view{*model_, vae_, text.conditional, dtype_, run.r.tile};
    if (asked.guide) {
      w.rows_per_pass = drm::rows_per_pass(view, run.size.height, run.size.width);
      w.score = decoded_scorer(view, judge_of(*asked.guide, begin, n), control);
    } else {
      const auto net = asked.reward->net();  // the request holds it
      w.rows_per_pass = drm::rows_per_pass(*net, read_by_reward, run.size.height, run.size.width);
      w.score = reward_scorer(*net, std::move(read_by_reward));
    }
    if (asked.trace)
      w.observer = [view, &control, begin](const BranchView& step) { tell_candidates(step, view, begin, control); };
    return w;
  }

  /// The images of batch b, which begins with image `begin`: their final latents.
  Tensor sample_batch(Sampling& run, int64_t b, int64_t begin, const Tensor& first, const Texts& texts,
                      const PromptChunk& chunk, Control& control) const {
    const auto& r = run.r;
    const auto& schedule = run.schedule;
    auto& s = run.s;
    const auto n = first.size(0);
    const auto of_batch = [&](const TextEmbedding& all, const TextRows& rows) {
      const auto own = rows.of.begin() + (begin - chunk.begin);
      return all.defined() ? select_rows(all, std::vector<int64_t>(own, own + n)) : TextEmbedding{};
    };
    const Conditioning text{of_batch(texts.conditional, chunk.prompts), of_batch(texts.unconditional, chunk.negatives)};
    const auto stepwise = stepwise_of(run, text, of_batch(texts.read_by_reward, chunk.prompts), begin, n, control);
    const Stopwatch clock;
    const auto total = run.batches * r.steps;
    control.report({"denoise", b * r.steps, total, s.denoise_seconds});
    SamplingTimes times;
    const auto out = denoise(
        network_policy(*model_, text, schedule, run.guidance), first.to(device_), schedule, stepwise, control,
        [&](const StepView& step) {
          control.report({"denoise", b * r.steps + step.index + 1, total, s.denoise_seconds + clock.seconds()});
          if (b == 0 && r.preview_every > 0 && (step.index + 1) % r.preview_every == 0 && step.index + 1 < r.steps) {
            // x_0 = x_t - sigma v, at the noise level after this step.
            const auto x_0 = step.latents.narrow(0, 0, 1) - static_cast<double>(schedule.sigmas[step.index + 1]) *
                                                                guided(step.velocity).narrow(0, 0, 1);
            auto e = image_event("preview", decode_to_bytes(vae_, x_0, r.tile, control)[0]);
            e.fields.emplace_back("step", static_cast<double>(step.index + 1));
            control.emit(std::move(e));
          }
        },
        &times);
    s.policy_seconds += times.policy;
    s.reward_seconds += times.reward;
    s.branch_seconds += times.branch;
    s.denoise_seconds += clock.seconds();
    if (!r.decode) return out;
    const Stopwatch decode_clock;
    emit_images(vae_, out,
                {begin, s.images, s.decode_seconds, r.tile,
                 [&](Event& e, int64_t index) {
                   e.fields.emplace_back("seed", std::to_string(r.images[static_cast<size_t>(index)].seed));
                 }},
                control);
    s.decode_seconds += decode_clock.seconds();
    return out;
  }

  SampleSummary sample_locked(const SampleRequest& r, Control& control) {
    const at::InferenceMode inference;
    const auto size = check(r);
    if (!r.save_latents.empty()) require_writable(r.save_latents);
    const auto count = static_cast<int64_t>(r.images.size()), batch = batch_size(r, size);
    const FirstLatents latents(r, {count, info_.latent_channels, size.height, size.width}, dtype_, info_.vae_factor);
    const Guidance guidance{r.guidance, r.skip_layers.value_or(SkipLayerGuidance{})};
    Sampling run{r, size, sampling_schedule(scheduler_, r.steps), guidance, 0, {}};
    run.batches = (count + batch - 1) / batch;
    auto& s = run.s;
    s.images = count;
    s.height = size.height * info_.vae_factor;
    s.width = size.width * info_.vae_factor;
    s.batches = run.batches;

    const auto chunks = prompt_chunks(r.images, batch, kPromptsInMemory);
    const auto embeddings = static_cast<int64_t>(chunks.size());
    std::vector<Tensor> finals;
    Texts texts;
    for (int64_t c = 0, b = 0; c < embeddings; ++c) {
      const auto& chunk = chunks[static_cast<size_t>(c)];
      const Stopwatch encode_clock;
      control.report({"encode", c, embeddings, s.encode_seconds});
      texts = {};  // the next ones take its place
      texts = embed(r, chunk, control);
      s.encode_seconds += encode_clock.seconds();
      control.report({"encode", c + 1, embeddings, s.encode_seconds});
      for (auto begin = chunk.begin; begin < chunk.end; begin += batch, ++b) {
        const auto first = latents.rows(begin, std::min(batch, chunk.end - begin));
        const auto out = sample_batch(run, b, begin, first, texts, chunk, control);
        if (!r.save_latents.empty()) finals.push_back(out.to(at::kCPU));
      }
    }
    if (!r.save_latents.empty()) save_safetensors(r.save_latents, {{"latents", at::cat(finals, 0)}});
    s.seconds_per_step = s.denoise_seconds / static_cast<double>(run.batches * r.steps);
    return s;
  }

  at::Device device_;
  at::ScalarType dtype_;
  PipelineSource source_;
  SchedulerConfig scheduler_;
  std::shared_ptr<VelocityModel> model_;
  Vae vae_;
  TextEncoders encoders_;
  PipelineInfo info_;
  std::mutex mutex_;
};

}  // namespace

std::shared_ptr<Pipeline> Pipeline::load(const PipelineSource& source, const LoadOptions& options, Control& control) {
  return guarded([&] { return std::make_shared<LoadedPipeline>(source, options, control); });
}

}  // namespace drm
