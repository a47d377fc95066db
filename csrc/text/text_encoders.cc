#include "text/text_encoders.h"

#include <ATen/ATen.h>

#include "text/text_keys.h"

namespace drm {
namespace {

constexpr size_t kPromptsAtOnce = 8;

using Ids = std::vector<int64_t> PromptTokens::*;

Tensor ids_tensor(const std::vector<PromptTokens>& prompts, size_t begin, size_t end, Ids field, int64_t length,
                  at::Device device) {
  auto ids = at::empty({static_cast<int64_t>(end - begin), length}, at::kLong);
  for (size_t i = begin; i < end; ++i) {
    const auto& row = prompts[i].*field;
    std::copy(row.begin(), row.end(), ids.data_ptr<int64_t>() + static_cast<int64_t>(i - begin) * length);
  }
  return ids.to(device);
}

void require_finite(const Tensor& x, const char* encoder) {
  // One read-back a batch of prompts: damaged encoder weights would otherwise show as a black image.
  if (!at::isfinite(x).all().item<bool>())
    throw Failure(Code::NotFinite,
                  std::string("[encode] ") + encoder +
                      ": expected finite states, found NaN or infinity; its weights are damaged: fetch them again, or "
                      "verify with `drm pull`",
                  {{"encoder", encoder}});
}

}  // namespace

void TextEncoders::free() {
  clip_l = make_clip(clip_l.config);
  clip_g = make_clip(clip_g.config);
  if (t5) t5 = make_t5(t5->config);
  loaded = false;
}

int64_t TextEncoderPlan::parameters() {
  return size_of(encoders.clip_l).parameters + size_of(encoders.clip_g).parameters +
         (encoders.t5 ? size_of(*encoders.t5).parameters : 0);
}

int64_t TextEncoderPlan::bytes(at::ScalarType dtype) {
  return static_cast<int64_t>(bytes_of(wanted(encoders.clip_l), dtype) + bytes_of(wanted(encoders.clip_g), dtype) +
                              (encoders.t5 ? bytes_of(wanted_t5(*encoders.t5, dtype), dtype) : 0));
}

TextEncoderPlan plan_text_encoders(const PipelineSource& source) {
  TextEncoderPlan p;
  const auto clip = [](const ComponentFiles& files, const Weights& weights) {
    return make_clip(files.config.empty() ? infer_clip_config(weights) : read_clip_config(files.config));
  };
  p.clip_l = Weights::open(source.text_encoder.weights, clip_keys("clip_l"));
  p.encoders.clip_l = clip(source.text_encoder, p.clip_l);
  p.clip_g = Weights::open(source.text_encoder_2.weights, clip_keys("clip_g"));
  p.encoders.clip_g = clip(source.text_encoder_2, p.clip_g);
  if (source.text_encoder_3.present()) {
    p.t5 = Weights::open(source.text_encoder_3.weights, t5_keys("t5xxl"));
    p.encoders.t5 = make_t5(source.text_encoder_3.config.empty() ? infer_t5_config(*p.t5)
                                                                 : read_t5_config(source.text_encoder_3.config));
  }
  return p;
}

TextEncoders load_text_encoders(TextEncoderPlan p, at::ScalarType dtype, at::Device device,
                                const std::function<void(uint64_t, uint64_t)>& progress) {
  auto& e = p.encoders;
  load_clip(e.clip_l, p.clip_l, dtype, device, progress);
  load_clip(e.clip_g, p.clip_g, dtype, device, progress);
  if (e.t5) load_t5(*e.t5, *p.t5, dtype, device, progress);
  e.loaded = true;
  return std::move(e);
}

void require_lengths(const TextEncoders& e, const std::vector<PromptTokens>& prompts, int64_t t5_length) {
  const auto require = [](size_t prompt, const std::vector<int64_t>& ids, int64_t length, const char* encoder) {
    if (static_cast<int64_t>(ids.size()) != length)
      throw Failure(Code::BadRequest, "[encode] prompt " + std::to_string(prompt) + ": expected " +
                                          std::to_string(length) + " " + encoder + " token ids, found " +
                                          std::to_string(ids.size()) + "; pad all prompts to one length");
  };
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto clip_length = static_cast<int64_t>(prompts.front().clip_l.size());
    require(i, prompts[i].clip_l, clip_length, "CLIP-L");
    require(i, prompts[i].clip_g, clip_length, "CLIP-G");
    if (e.t5) require(i, prompts[i].t5, t5_length, "T5");
  }
}

void encode_prompts(const TextEncoders& e, const std::vector<PromptTokens>& prompts, int64_t t5_length,
                    at::Device device, const Control& control, const std::function<void(const EncodedPrompts&)>& take) {
  require_lengths(e, prompts, t5_length);
  const auto clip_length = prompts.empty() ? 0 : static_cast<int64_t>(prompts.front().clip_l.size());
  for (size_t begin = 0; begin < prompts.size(); begin += kPromptsAtOnce) {
    control.check();
    const auto end = std::min(prompts.size(), begin + kPromptsAtOnce);
    EncodedPrompts some;
    some.clip_l = clip_forward(e.clip_l, ids_tensor(prompts, begin, end, &PromptTokens::clip_l, clip_length, device));
    some.clip_g = clip_forward(e.clip_g, ids_tensor(prompts, begin, end, &PromptTokens::clip_g, clip_length, device));
    if (e.t5) some.t5 = t5_forward(*e.t5, ids_tensor(prompts, begin, end, &PromptTokens::t5, t5_length, device));
    some.t5_length = t5_length;
    require_finite(some.clip_l.penultimate, "CLIP-L");
    require_finite(some.clip_g.penultimate, "CLIP-G");
    if (some.t5.defined()) require_finite(some.t5, "T5");
    take(some);
  }
}

}  // namespace drm
