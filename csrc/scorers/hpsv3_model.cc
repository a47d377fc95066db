#include "scorers/hpsv3_model.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "scorers/weights_hint.h"

namespace drm {
namespace {

constexpr const char* kTable = "model.embed_tokens.weight";

/// What a file that is not HPSv3's looks like.
std::string resemblance(const Weights& w) {
  const auto any = [&](const std::string& beginning) {
    const auto at = w.entries().lower_bound(beginning);
    return at != w.entries().end() && at->first.starts_with(beginning);
  };
  if (any("rm_head.")) return "";
  return any("visual.") && w.has(kTable) ? "these look like the weights of Qwen2-VL itself: fetch HPSv3.safetensors"
                                         : looks_like(w);
}

}  // namespace

Hpsv3Config read_hpsv3_config(const std::string& path) {
  std::shared_ptr<Json> json;
  const auto r = ConfigReader::read(path, json);
  r.expect("model_type", "qwen2_vl");
  const auto* nested = json->find("text_config");
  const auto text = nested && nested->is_object() ? r.section("text_config") : r;
  Hpsv3Config c{read_qwen2_config(text), read_qwen2_vision_config(r.section("vision_config"))};
  // transformers 5 keeps the base of the rotary angles in a section of its own.
  if (const auto* rope = (nested && nested->is_object() ? *nested : *json).find("rope_parameters");
      rope && rope->is_object())
    c.text.rope_theta = text.section("rope_parameters").number("rope_theta", c.text.rope_theta);
  c.image_token_id = r.integer("image_token_id", c.image_token_id);
  c.reward_token_id = r.integer("reward_token_id", c.reward_token_id);
  const auto head = r.integers("reward_head_sizes", {c.head[0], c.head[1]});
  if (head.size() != 2 || std::any_of(head.begin(), head.end(), [](auto n) { return n < 1 || n > 65536; }))
    throw Failure(Code::BadConfig,
                  "[config] " + path + ": expected two positive reward_head_sizes, such as [1024, 16]");
  std::copy(head.begin(), head.end(), c.head.begin());
  if (c.vision.hidden_size != c.text.hidden_size || !(c.text.rope_theta > 0) || c.image_token_id < 0 ||
      c.reward_token_id < 0 || c.image_token_id == c.reward_token_id)
    throw Failure(Code::BadConfig,
                  "[config] " + path +
                      ": expected a vision_config whose hidden_size is the decoder's, and two different ids "
                      "image_token_id and reward_token_id, found " +
                      std::to_string(c.vision.hidden_size) + " and " + std::to_string(c.text.hidden_size) + ", " +
                      std::to_string(c.image_token_id) + " and " + std::to_string(c.reward_token_id) +
                      "; compare with the model's original config.json");
  return c;
}

Hpsv3 make_hpsv3(const Hpsv3Config& c) {
  return {c,
          make_qwen2_vision(c.vision),
          make_qwen2(c.text),
          {make_linear(c.text.hidden_size, c.head[0]), make_linear(c.head[0], c.head[1]), make_linear(c.head[1], 2)}};
}

KeyReader hpsv3_keys() {
  return [](const std::vector<std::string>& names) {
    if (!any_starts(names, "model.language_model.")) return plain_keys(names, "", "transformers");
    return translated_keys(names, "", "transformers 5", [](const std::string& name) -> std::vector<Translated> {
      const std::string text = "model.language_model.", vision = "model.visual.";
      if (name.starts_with(text)) return {{"model." + name.substr(text.size()), {name}}};
      if (name.starts_with(vision)) return {{"visual." + name.substr(vision.size()), {name}}};
      return {};
    });
  };
}

std::vector<WantedTensor> wanted_hpsv3(Hpsv3& m) {
  auto all = wanted(m);
  for (auto& w : all) {
    w.in_place = w.shape.size() > 1;
    if (w.key == kTable) w.device = at::kCPU;
    if (w.key.starts_with("rm_head.")) w.dtype = at::kFloat;
  }
  return all;
}

void load_hpsv3(Hpsv3& m, const Weights& weights, at::ScalarType dtype, at::Device device,
                const std::function<void(uint64_t, uint64_t)>& progress) {
  if (const auto it = weights.entries().find(kTable);
      it != weights.entries().end() && it->second.info.shape.size() == 2) {
    m.config.text.vocab_size = m.text.config.vocab_size = it->second.info.shape[0];
    m.text.tokens = make_table(m.config.text.vocab_size, m.config.text.hidden_size);
  }
  weights.fill(
      wanted_hpsv3(m), dtype, device, [](const std::string& key) { return key == "lm_head.weight"; },
      resemblance(weights), progress);
  if (std::max(m.config.image_token_id, m.config.reward_token_id) >= m.config.text.vocab_size)
    throw Failure(Code::BadConfig, "[hpsv3] " + weights.description() + ": expected a vocabulary with image_token_id " +
                                       std::to_string(m.config.image_token_id) + " and reward_token_id " +
                                       std::to_string(m.config.reward_token_id) + ", found one of " +
                                       std::to_string(m.config.text.vocab_size) +
                                       " entries; do config and weights belong together?");
}

std::vector<int64_t> hpsv3_sequence(const Hpsv3Config& c, const std::vector<int64_t>& ids, int64_t image_tokens,
                                    int64_t prompt) {
  const auto bad = [&](const std::string& what) {
    throw Failure(Code::BadRequest, "[hpsv3] prompt " + std::to_string(prompt) + ": " + what);
  };
  const auto images = std::count(ids.begin(), ids.end(), c.image_token_id);
  const auto end = std::find(ids.begin(), ids.end(), c.reward_token_id);
  const auto image = std::find(ids.begin(), end, c.image_token_id);
  if (images != 1 || end == ids.end() || image == end)
    bad("expected one image token (" + std::to_string(c.image_token_id) + ") and after it the reward token (" +
        std::to_string(c.reward_token_id) + "), found " + std::to_string(images) + " and " +
        (end == ids.end() ? "none" : "one before it") + "; was it made by this model's chat template and tokenizer?");
  std::vector<int64_t> row(ids.begin(), image);
  row.insert(row.end(), static_cast<size_t>(image_tokens), c.image_token_id);
  row.insert(row.end(), image + 1, end + 1);
  if (static_cast<int64_t>(row.size()) > c.text.max_position_embeddings)
    bad("expected at most " + std::to_string(c.text.max_position_embeddings) + " tokens with the image's " +
        std::to_string(image_tokens) + ", found " + std::to_string(row.size()) + "; shorten the prompt");
  for (const auto id : row)
    if (id < 0 || id >= c.text.vocab_size)
      bad("token id " + std::to_string(id) + ": the vocabulary has " + std::to_string(c.text.vocab_size) +
          " entries; tokenizer and weights do not belong together");
  return row;
}

Tensor hpsv3_forward(const Hpsv3& m, const Tensor& patches, const std::vector<PatchGrid>& grids,
                     const std::vector<std::vector<int64_t>>& sequences, const Observer* observer) {
  const auto tap = [&](const std::string& name, const Tensor& value) {
    if (observer) (*observer)(name, value);
  };
  const auto seen = qwen2_vision_forward(m.vision, patches, grids, observer);
  tap("vision_tokens", seen);

  size_t longest = 0;
  for (const auto& row : sequences) longest = std::max(longest, row.size());
  auto ids = at::zeros({static_cast<int64_t>(sequences.size()), static_cast<int64_t>(longest)}, at::kLong);
  for (size_t b = 0; b < sequences.size(); ++b)
    std::copy(sequences[b].begin(), sequences[b].end(), ids.data_ptr<int64_t>() + b * longest);
  auto x = look_up(m.text.tokens, ids).to(seen.device(), at::kFloat);
  int64_t from = 0;
  for (size_t b = 0; b < sequences.size(); ++b) {
    const auto& row = sequences[b];
    const auto count = grids[b].patches() / m.config.vision.block_patches();
    const auto begin = std::find(row.begin(), row.end(), m.config.image_token_id) - row.begin();
    x[static_cast<int64_t>(b)].narrow(0, begin, count).copy_(seen.narrow(0, from, count));
    from += count;
  }
  tap("inputs_embeds", x);

  x = qwen2_layers(m.text, x, observer);
  std::vector<Tensor> at_reward;
  for (size_t b = 0; b < sequences.size(); ++b)
    at_reward.push_back(x[static_cast<int64_t>(b)][static_cast<int64_t>(sequences[b].size()) - 1]);
  auto h = rms_norm(m.text.final_norm, at::stack(at_reward), m.config.text.rms_norm_eps).to(at::kFloat);
  tap("reward_hidden", h);
  for (size_t i = 0; i < m.head.size(); ++i) h = linear(m.head[i], i == 0 ? h : at::relu(h));
  return h;
}

}  // namespace drm
