#include "plain_dit.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "nn/attention.h"
#include "nn/initialize.h"
#include "nn/modulation.h"
#include "nn/recompute.h"

namespace drm::test {
namespace {

constexpr const char* kBlocks = "layers.";

struct Block {
  Linear ada;  // conditioning -> shift, scale, gate of the attention and of the feed-forward
  Linear to_q, to_k, to_v, to_out, up, down;
};

struct Network {
  PlainDiTConfig config;
  Conv2d patch;
  Parameter positions;  // (P * P, D)
  Linear time, text;
  std::vector<Block> blocks;
  Linear out;
};

template <class V>
void each(Network& n, V&& visit) {
  visit("patch", n.patch);
  visit("positions", n.positions);
  visit("time", n.time);
  visit("text", n.text);
  for (size_t i = 0; i < n.blocks.size(); ++i) {
    auto& b = n.blocks[i];
    const auto name = kBlocks + std::to_string(i) + ".";
    visit(name + "ada", b.ada);
    visit(name + "attn.to_q", b.to_q);
    visit(name + "attn.to_k", b.to_k);
    visit(name + "attn.to_v", b.to_v);
    visit(name + "attn.to_out", b.to_out);
    visit(name + "up", b.up);
    visit(name + "down", b.down);
  }
  visit("out", n.out);
}

Network make_network(const PlainDiTConfig& c, int64_t keep_layers) {
  const auto d = c.width;
  Network n;
  n.config = c;
  n.patch = make_conv(c.channels, d, c.patch);
  n.positions = make_parameter({c.most_patches * c.most_patches, d});
  n.time = make_linear(2 * d, d);
  n.text = make_linear(c.text_width, d);
  for (int64_t i = 0; i < (keep_layers > 0 ? std::min(keep_layers, c.layers) : c.layers); ++i)
    n.blocks.push_back({make_linear(d, 6 * d), make_linear(d, d), make_linear(d, d), make_linear(d, d),
                        make_linear(d, d), make_linear(d, 4 * d), make_linear(4 * d, d)});
  n.out = make_linear(d, c.patch * c.patch * c.channels);
  return n;
}

Tensor run(const Block& b, int64_t heads, Tensor x_BLD, const Tensor& condition) {
  const auto m = linear(b.ada, condition).chunk(6, 1);
  const auto in = modulated_norm(x_BLD, m[0], m[1]);
  const auto seen = attend(split_heads(linear(b.to_q, in), heads), split_heads(linear(b.to_k, in), heads),
                           split_heads(linear(b.to_v, in), heads));
  x_BLD = gated_add(x_BLD, m[2], linear(b.to_out, merge_heads(seen)));
  return gated_add(x_BLD, m[5], linear(b.down, linear_gelu(b.up, modulated_norm(x_BLD, m[3], m[4]))));
}

class PlainDiT final : public VelocityModel {
 public:
  explicit PlainDiT(Network network) : network_(std::move(network)) {
    const auto& c = network_.config;
    info_ = {"PlainDiT",     c.channels, c.channels, c.patch,
             c.most_patches, c.size,     c.layers,   c.width,
             c.text_width,   0,          kBlocks,    {{"channels", c.channels}, {"width", c.width}}};
  }
  const VelocityModelInfo& info() const override { return info_; }

  PromptEmbeds assemble(const EncodedPrompts& prompts) const override { return {prompts.clip_l.last, {}}; }
  TextEmbedding embed_text(const PromptEmbeds& prompts) const override {
    return {linear(network_.text, prompts.sequence), {}};
  }

  Tensor velocity(const Tensor& latent, const Tensor& timestep, const TextEmbedding& text,
                  const VelocityOptions& options) const override {
    const auto& c = network_.config;
    const auto h = latent.size(2) / c.patch, w = latent.size(3) / c.patch, p = c.patch;
    auto image = at::conv2d(latent, network_.patch.weight, network_.patch.bias, at::IntArrayRef{p, p});
    const auto table = network_.positions.value.view({c.most_patches, c.most_patches, -1});
    image =
        image.flatten(2).transpose(1, 2) + table.narrow(0, 0, h).narrow(1, 0, w).flatten(0, 1).to(image.scalar_type());
    auto x = at::cat({image, text.context_BLD.to(image.scalar_type())}, 1);
    const auto frequency = at::exp(at::arange(c.width, timestep.options()) * (-std::log(1e4) / c.width));
    const auto angle = timestep.unsqueeze(1) * frequency.unsqueeze(0);
    const auto condition =
        at::silu(linear(network_.time, at::cat({at::cos(angle), at::sin(angle)}, 1).to(x.scalar_type())));
    for (size_t i = 0; i < network_.blocks.size(); ++i) {
      const auto& skip = options.skip_layers;
      if (std::find(skip.begin(), skip.end(), static_cast<int64_t>(i)) != skip.end()) continue;
      const auto& block = network_.blocks[i];
      x = options.recompute && at::GradMode::is_enabled()
              ? recomputed([&](const Tensors& in) -> Tensors { return {run(block, c.heads, in[0], in[1])}; },
                           {x, condition})[0]
              : run(block, c.heads, x, condition);
    }
    return linear(network_.out, x.narrow(1, 0, h * w))
        .view({latent.size(0), h, w, p, p, c.channels})
        .permute({0, 5, 1, 3, 2, 4})
        .reshape(latent.sizes());
  }

  void each_leaf(const LeafVisitor& visit) override {
    each(network_, [&](const std::string& name, auto& leaf) { visit(name, &leaf); });
  }
  at::ScalarType dtype() const override { return network_.out.weight.scalar_type(); }
  Linear& output_layer() override { return network_.out; }
  void initialize(at::Generator generator) override {
    each(network_, [&](const std::string&, auto& leaf) { initialize_leaf(leaf, generator); });
  }
  int64_t run_layers() const override { return static_cast<int64_t>(network_.blocks.size()); }
  bool is_left_out(const std::string& key) const override {
    return key.starts_with(kBlocks) &&
           std::atoll(key.c_str() + std::string(kBlocks).size()) >= static_cast<int64_t>(network_.blocks.size());
  }

 private:
  Network network_;
  VelocityModelInfo info_;
};

VelocityModelConfig read(const ConfigReader& r) {
  PlainDiTConfig c;
  c.channels = r.integer("channels");
  c.patch = r.integer("patch");
  c.most_patches = r.integer("most_patches");
  c.size = r.integer("size");
  c.layers = r.integer("layers");
  c.heads = r.integer("heads");
  c.width = r.integer("width");
  c.text_width = r.integer("text_width");
  const auto plan = [c](int64_t keep_layers) { return std::make_shared<PlainDiT>(make_network(c, keep_layers)); };
  return {plan(0)->info(), plan};
}

}  // namespace

Architecture plain_dit_architecture() { return {"PlainDiT", kBlocks, read}; }

std::string plain_dit_json(const PlainDiTConfig& c) {
  const auto field = [](const char* name, int64_t value) {
    return std::string(", \"") + name + "\": " + std::to_string(value);
  };
  return "{\"_class_name\": \"PlainDiT\"" + field("channels", c.channels) + field("patch", c.patch) +
         field("most_patches", c.most_patches) + field("size", c.size) + field("layers", c.layers) +
         field("heads", c.heads) + field("width", c.width) + field("text_width", c.text_width) + "}";
}

}  // namespace drm::test
