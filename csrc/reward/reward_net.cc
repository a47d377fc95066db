#include "reward/reward_net.h"

#include <ATen/ATen.h>

#include "tensor_io/config_reader.h"

namespace drm {
namespace {

constexpr double kGroupNormEps = 1e-5;

/// What the authors published (paper, section 4.1.1): blocks of the base, blocks run.
constexpr std::pair<int64_t, int64_t> kPublished[] = {{24, 21}, {38, 33}};

KeyReading reward_head_keys(const std::vector<std::string>& names) {
  return plain_keys(names, "reward_output.", "diffusers");
}

std::vector<int64_t> down_channels(const RewardHeadConfig& h) {
  std::vector<int64_t> channels(h.strides.size(), 2 * h.channels);
  channels.front() = h.channels;
  return channels;
}

}  // namespace

void check_reward_config(const RewardConfig& c) {
  const auto fail = [](const char* field, const std::string& expected, int64_t found) {
    throw Failure(Code::BadConfig,
                  std::string("[reward] ") + field + ": expected " + expected + ", found " + std::to_string(found));
  };
  if (c.keep_layers < 1 || c.keep_layers > c.backbone.info.layers)
    fail("keep_layers", "1 to " + std::to_string(c.backbone.info.layers) + " (the base's blocks)", c.keep_layers);
  const auto& h = c.head;
  if (h.groups < 1 || h.channels < 1 || h.channels % h.groups)
    fail("head.channels", "a multiple of head.groups = " + std::to_string(h.groups), h.channels);
  if (h.hidden < 1) fail("head.hidden", "at least 1", h.hidden);
  if (h.strides.empty() || h.strides.size() > 16)
    fail("head.strides", "1 to 16 convolutions", static_cast<int64_t>(h.strides.size()));
  for (const auto s : h.strides)
    if (s < 1 || s > 8) fail("head.strides", "strides of 1 to 8", s);
  if (!(h.dropout >= 0 && h.dropout < 1))
    throw Failure(Code::BadConfig,
                  "[reward] head.dropout: expected 0 to less than 1, found " + std::to_string(h.dropout));
}

RewardConfig read_reward_config(const std::string& path) {
  std::shared_ptr<Json> json;
  const auto r = ConfigReader::read(path, json);
  r.expect("_class_name", "DiffusionRewardModel");
  RewardConfig c;
  c.backbone = read_velocity_config(r.section("backbone"));
  c.keep_layers = r.integer("keep_layers");
  const auto h = r.section("head");
  c.head.channels = h.integer("channels");
  c.head.groups = h.integer("groups");
  c.head.hidden = h.integer("hidden");
  c.head.dropout = h.number("dropout", 0.1);
  c.head.strides = h.integers("strides", {2, 2, 2});
  c.t5_length = r.integer("t5_length", 512);
  c.size = r.integer("size", 512);
  check_reward_config(c);
  return c;
}

RewardConfig infer_reward_config(const std::vector<std::string>& files) {
  const auto head = Weights::open(files, reward_head_keys);
  const auto shape = [&](const std::string& key) {
    const auto it = head.entries().find(key);
    if (it == head.entries().end() || it->second.info.shape.empty())
      throw Failure(Code::BadFile,
                    "[load] " + head.description() + ": expected a reward model, found no reward_output." + key +
                        "; name a folder that `drm train` wrote, or the authors' model.safetensors",
                    {{"file", head.description()}, {"key", "reward_output." + key}});
    return it->second.info.shape;
  };
  RewardConfig c;
  c.backbone = infer_velocity_config(Weights::open(files, velocity_keys));
  c.head.channels = shape("down1.0.weight")[0];
  c.head.hidden = shape("mlp.0.weight")[0];
  int64_t blocks = 1;
  while (head.has("down" + std::to_string(blocks + 1) + ".0.weight")) ++blocks;
  c.head.strides.assign(static_cast<size_t>(blocks), 2);
  for (const auto& [layers, kept] : kPublished)
    if (c.backbone.info.layers == layers) c.keep_layers = kept;
  if (c.keep_layers == 0)
    throw Failure(Code::BadFile,
                  "[load] " + head.description() + ": expected the authors' file with 24 or 38 blocks, found " +
                      std::to_string(c.backbone.info.layers) +
                      ", which leaves open how many are run; put a config.json beside it (docs/reward-model.md)",
                  {{"file", head.description()}});
  check_reward_config(c);
  return c;
}

RewardConfig reward_config_of(const ComponentFiles& files) {
  return files.config.empty() ? infer_reward_config(files.weights) : read_reward_config(files.config);
}

RewardNet make_reward_net(const RewardConfig& c) {
  check_reward_config(c);
  RewardNet net;
  net.config = c;
  net.backbone = c.backbone.plan(c.keep_layers);
  auto in = c.backbone.info.out_channels;
  for (const auto out : down_channels(c.head)) {
    net.head.down.push_back({make_conv(in, out, 3), make_norm(out)});
    in = out;
  }
  net.head.hidden = make_linear(in, c.head.hidden);
  net.head.score = make_linear(c.head.hidden, 1);
  return net;
}

void load_reward_net(RewardNet& net, const std::vector<std::string>& files, at::ScalarType dtype, at::Device device,
                     const std::function<void(uint64_t, uint64_t)>& progress) {
  load_velocity_model(*net.backbone, Weights::open(files, velocity_keys), dtype, device, progress);
  Weights::open(files, reward_head_keys)
      .fill(wanted(net.head), dtype, device, {}, "the head's sizes are in config.json under head");
}

Tensor reward_of_map(const RewardNet& net, const Tensor& map, const Tensor& dropout) {
  const auto& h = net.config.head;
  auto x = map;
  for (size_t i = 0; i < net.head.down.size(); ++i) {
    const auto& block = net.head.down[i];
    x = at::relu(at::group_norm(conv2d(block.conv, x, h.strides[i], 1), h.groups, block.norm.weight, block.norm.bias,
                                kGroupNormEps));
  }
  x = at::relu(linear(net.head.hidden, x.mean({2, 3})));
  if (dropout.defined()) x = x * dropout.to(x.scalar_type());
  // Scores of a pair are subtracted: bf16 would round them first, so the last product is fp32 whatever the model's
  // dtype.
  const auto& w = net.head.score;
  return (x.to(at::kFloat) * w.weight.to(at::kFloat)).sum(1) + w.bias.to(at::kFloat);
}

Tensor reward(const RewardNet& net, const Tensor& latent, const Tensor& timestep, const TextEmbedding& text) {
  return reward_of_map(net, net.backbone->velocity(latent, timestep, text));
}

PairScores reward_of_pairs(const RewardNet& net, const Tensor& latent, const Tensor& timestep,
                           const TextEmbedding& text, const TrainingOptions& options) {
  VelocityOptions whole;
  whole.recompute = options.recompute;
  const auto maps = net.backbone->velocity(latent, timestep, text, whole).chunk(2, 0);
  const auto kept = options.dropout.defined() ? options.dropout.chunk(2, 0) : std::vector<Tensor>(2);
  return {reward_of_map(net, maps[0], kept[0]), reward_of_map(net, maps[1], kept[1])};
}

}  // namespace drm
