#include "models/sd3/mmdit.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "nn/attention.h"
#include "nn/fused.h"
#include "nn/linear_at_once.h"
#include "nn/modulation.h"
#include "nn/recompute.h"

namespace drm {
namespace {

constexpr int64_t kTimeFeatures = 256;

Attention make_attention(const MMDiTConfig& c, bool queries, bool output) {
  const auto d = c.width();
  Attention a{queries ? make_linear(d, d) : Linear{}, make_linear(d, d), make_linear(d, d), {}, {}, {}};
  if (c.qk_norm) {
    if (queries) a.norm_q = make_norm(c.head_dim, false);
    a.norm_k = make_norm(c.head_dim, false);
  }
  if (output) a.to_out = make_linear(d, d);
  return a;
}

JointBlock make_block(const MMDiTConfig& c, bool dual, bool last, bool cut) {
  const auto d = c.width();
  JointBlock b;
  b.dual = dual;
  b.last = last;
  b.cut = cut;
  b.image = {make_linear(d, (dual ? 9 : 6) * d),
             make_attention(c, true, true),
             {make_linear(d, 4 * d), make_linear(4 * d, d)}};
  b.text.ada = make_linear(d, (last ? 2 : 6) * d);
  b.text.attn = make_attention(c, !cut, b.text_goes_on());
  if (b.text_goes_on()) b.text.ff = {make_linear(d, 4 * d), make_linear(4 * d, d)};
  if (dual) b.self = make_attention(c, true, true);
  return b;
}

/// Names below an observer's prefix; free when nobody looks.
struct Tap {
  const Observer* observer;
  std::string prefix;
  void operator()(const char* name, const Tensor& value) const {
    if (observer) (*observer)(prefix + name, value);
  }
};

struct Heads {
  Tensor q, k, v;    // (B, H, L, K)
  double scale = 0;  // as attend() takes it
};

/// One stream that is attended to: its projections and their input (B, L, D).
struct Stream {
  const Attention& attention;
  const Tensor& input;
  bool asks = true;  // false: it has no queries of its own, since nobody reads its output
};

Tensor normed(const Tensor& x_BLD, int64_t heads, const Tensor& weight) {
  const auto x = split_heads(x_BLD, heads);
  return weight.defined() ? qk_norm(x, weight) : x;
}

/// Queries, keys and values side by side, (B, L, 3 D).
Tensor project_at_once(const Stream& s) {
  return linear_at_once({&s.attention.to_q, &s.attention.to_k, &s.attention.to_v}, s.input);
}

/// The fused form of what asks, where there is one.
std::optional<Heads> project_fused(const std::vector<Stream>& streams, int64_t heads) {
  std::vector<fused::HeadsInput> inputs;
  for (const auto& s : streams) {
    if (!s.asks) continue;
    if (!fused::in_training() || !s.input.is_cpu() || !s.attention.norm_q.weight.defined()) return {};
    inputs.push_back({project_at_once(s), s.attention.norm_q.weight, s.attention.norm_k.weight});
  }
  const auto k = streams.front().input.size(2) / heads;
  // The scale of the scores goes into the queries before they are rounded.
  const auto h = fused::normed_heads(inputs, heads, 1 / std::sqrt(static_cast<double>(k)));
  return h ? std::optional<Heads>({(*h)[0], (*h)[1], (*h)[2], 1}) : std::nullopt;
}

/// The streams' heads, one stream's tokens after the other's; those that do not ask come last.
Heads project_jointly(const std::vector<Stream>& streams, int64_t heads) {
  std::vector<Tensor> qs, ks, vs;
  double scale = 0;
  const auto fused = project_fused(streams, heads);
  if (fused) {
    qs.push_back(fused->q);
    ks.push_back(fused->k);
    vs.push_back(fused->v);
    scale = fused->scale;
  }
  std::vector<fused::StreamHeads> apart;
  for (const auto& s : streams) {
    if (fused && s.asks) continue;
    const auto& a = s.attention;
    apart.push_back({s.asks ? linear(a.to_q, s.input) : Tensor(), linear(a.to_k, s.input), linear(a.to_v, s.input),
                     a.norm_q.weight, a.norm_k.weight});
  }
  if (!fused)
    if (const auto joint = fused::joint_heads(apart, heads)) return {(*joint)[0], (*joint)[1], (*joint)[2]};
  for (const auto& s : apart) {
    if (s.q.defined()) qs.push_back(normed(s.q, heads, s.norm_q));
    const auto k = normed(s.k, heads, s.norm_k);
    ks.push_back(fused ? k.to(fused->k.scalar_type()) : k);  // under autocast a norm's result would be fp32
    vs.push_back(split_heads(s.v, heads));
  }
  const auto join = [](const std::vector<Tensor>& parts) { return parts.size() == 1 ? parts[0] : at::cat(parts, 2); };
  return {join(qs), join(ks), join(vs), scale};
}

/// (B, L, D) of what the streams that ask find in all.
Tensor attend_jointly(const std::vector<Stream>& streams, int64_t heads) {
  const auto h = project_jointly(streams, heads);
  return merge_heads(attend(h.q, h.k, h.v, /*causal=*/false, {}, h.scale));
}

Tensor feed_forward(const FeedForward& f, const Tensor& x) { return linear(f.out, linear_gelu(f.proj, x)); }

/// One block. `cond` is silu(temb), (B, D). Streams are updated in place of the references.
void joint_block(const JointBlock& b, int64_t heads, Tensor& image, Tensor& text, const Tensor& cond, const Tap& tap) {
  const auto im = linear(b.image.ada, cond).chunk(b.dual ? 9 : 6, 1);
  const auto tm = linear(b.text.ada, cond).chunk(b.last ? 2 : 6, 1);

  const auto image_in = modulated_norm(image, im[0], im[1]);
  // The last block's text norm is stored (scale, shift), all others (shift, scale).
  const auto text_in = b.last ? modulated_norm(text, tm[1], tm[0]) : modulated_norm(text, tm[0], tm[1]);
  tap("norm1.norm", image_in);
  tap("norm1.gate_msa", im[2]);
  tap("norm1.shift_mlp", im[3]);
  tap("norm1.scale_mlp", im[4]);
  tap("norm1.gate_mlp", im[5]);
  tap("norm1_context", text_in);

  // Nobody reads what the last block's text finds. In training the reference's parameters there have a gradient of
  // zero, which an optimizer does not treat as none: weights decay.
  const bool text_asks = b.text_goes_on() || (b.last && fused::in_training());
  const auto joint = attend_jointly({{b.image.attn, image_in}, {b.text.attn, text_in, text_asks}}, heads);
  const auto image_out = linear(b.image.attn.to_out, joint.narrow(1, 0, image.size(1)));
  tap("attn_img", image_out);

  // Both attentions of a dual block read the same norm of the block's input, so attn2 is computed before `image` moves.
  Tensor self_out;
  if (b.dual) {
    const auto self_in = modulated_norm(image, im[6], im[7]);
    tap("norm1.norm2", self_in);
    tap("norm1.gate_msa2", im[8]);
    self_out = linear(b.self.to_out, attend_jointly({{b.self, self_in}}, heads));
    tap("attn2", self_out);
  }
  image = gated_add(image, im[2], image_out);
  if (b.dual) image = gated_add(image, im[8], self_out);
  const auto image_ff = feed_forward(b.image.ff, modulated_norm(image, im[3], im[4]));
  tap("ff", image_ff);
  image = gated_add(image, im[5], image_ff);
  tap("img", image);

  if (!b.text_goes_on()) return;
  const auto text_out = linear(b.text.attn.to_out, joint.narrow(1, image.size(1), text.size(1)));
  tap("attn_ctx", text_out);
  text = gated_add(text, tm[2], text_out);
  text = gated_add(text, tm[5], feed_forward(b.text.ff, modulated_norm(text, tm[3], tm[4])));
  tap("ctx", text);
}

/// The part of the table for h x w patches, cut from its centre: (1, h * w, D). Odd differences round down.
Tensor crop_positions(const MMDiT& m, int64_t h, int64_t w) {
  const auto p = m.config.pos_embed_max_size;
  if (h > p || w > p)
    throw Failure(Code::BadRequest, "[velocity] image of " + std::to_string(h) + " x " + std::to_string(w) +
                                        " patches: the position table covers " + std::to_string(p) + " x " +
                                        std::to_string(p) + "; ask for a smaller size");
  const auto table = m.positions.value.view({1, p, p, -1});
  return table.narrow(1, (p - h) / 2, h).narrow(2, (p - w) / 2, w).reshape({1, h * w, m.positions.value.size(2)});
}

/// Sinusoidal features of the timestep in fp32, cosines first; the network is conditioned on 0..1000 as it is.
Tensor time_features(const Tensor& timestep_B) {
  const int64_t half = kTimeFeatures / 2;
  const auto options = timestep_B.options().dtype(at::kFloat);
  const auto frequencies = at::exp(at::arange(half, options) * -std::log(10000.0) / half);
  const auto angle = timestep_B.to(at::kFloat).unsqueeze(1) * frequencies.unsqueeze(0);
  return at::cat({at::cos(angle), at::sin(angle)}, 1);
}

}  // namespace

MMDiT make_mmdit(const MMDiTConfig& c, int64_t keep_layers) {
  const auto d = c.width();
  const auto kept = keep_layers > 0 ? std::min(keep_layers, c.num_layers) : c.num_layers;
  MMDiT m;
  m.config = c;
  m.patch = make_conv(c.in_channels, d, c.patch_size);
  m.positions = make_buffer({1, c.pos_embed_max_size * c.pos_embed_max_size, d});
  m.time_1 = make_linear(kTimeFeatures, d);
  m.time_2 = make_linear(d, d);
  m.text_1 = make_linear(c.pooled_projection_dim, d);
  m.text_2 = make_linear(d, d);
  m.context = make_linear(c.joint_attention_dim, d);
  for (int64_t i = 0; i < kept; ++i) {
    const bool dual =
        std::find(c.dual_attention_layers.begin(), c.dual_attention_layers.end(), i) != c.dual_attention_layers.end();
    const bool last = i + 1 == c.num_layers;
    m.blocks.push_back(make_block(c, dual, last, i + 1 == kept && !last));
  }
  m.norm_out = make_linear(d, 2 * d);
  m.proj_out = make_linear(d, c.patch_size * c.patch_size * c.out_channels);
  return m;
}

bool is_left_out(const MMDiT& m, const std::string& key) {
  constexpr std::string_view kBlocks = "transformer_blocks.";
  if (!key.starts_with(kBlocks)) return false;
  const auto index = std::strtoll(key.c_str() + kBlocks.size(), nullptr, 10);
  const auto kept = static_cast<int64_t>(m.blocks.size());
  if (index >= kept) return index < m.config.num_layers;
  if (index + 1 != kept || !m.blocks.back().cut) return false;
  for (const auto* part : {".ff_context.", ".attn.to_add_out.", ".attn.add_q_proj.", ".attn.norm_added_q."})
    if (key.find(part) != std::string::npos) return true;
  return false;
}

std::string guess_release(const MMDiT& m, const Weights& weights) {
  const auto q = weights.entries().find("transformer_blocks.0.attn.to_q.weight");
  if (q == weights.entries().end() || q->second.info.shape.size() != 2 || q->second.info.shape[0] == m.config.width())
    return "";
  const auto width = q->second.info.shape[0];
  const char* known = width == 2432 ? " (SD3.5-Large)" : width == 1536 ? " (SD3.5-Medium or SD3-Medium)" : "";
  return "the weights have width " + std::to_string(width) + known + ", the config says " +
         std::to_string(m.config.width()) + ": use the config.json that belongs to these weights";
}

TextEmbedding embed_text(const MMDiT& m, const Tensor& prompt_embeds, const Tensor& pooled_embeds) {
  return {linear(m.context, prompt_embeds), linear(m.text_2, at::silu(linear(m.text_1, pooled_embeds)))};
}

Tensor velocity(const MMDiT& m, const Tensor& latent, const Tensor& timestep, const TextEmbedding& text,
                const VelocityOptions& options) {
  const auto& c = m.config;
  const auto batch = latent.size(0), p = c.patch_size;
  if (latent.size(2) % p || latent.size(3) % p)
    throw Failure(Code::BadRequest, "[velocity] latent of " + std::to_string(latent.size(2)) + " x " +
                                        std::to_string(latent.size(3)) + ": expected multiples of the patch size " +
                                        std::to_string(p));
  const auto h = latent.size(2) / p, w = latent.size(3) / p;
  const Tap tap{options.observer, ""};

  // The streams of an fp16 model are fp32, as PyTorch's autocast leaves them: their sums may pass fp16's 65504.
  const auto stream = [](const Tensor& t) { return t.scalar_type() == at::kHalf ? t.to(at::kFloat) : t; };
  // Dense rows from here on: a sum takes over its first operand's layout, and every later one would.
  const auto patches = at::conv2d(latent, m.patch.weight, m.patch.bias, at::IntArrayRef{p, p}).flatten(2);
  auto image = stream(patches.transpose(1, 2).contiguous()) + crop_positions(m, h, w);
  tap("pos_embed_out", image);
  const auto features = time_features(timestep);
  tap("time_proj", features);
  const auto temb =
      linear(m.time_2, at::silu(linear(m.time_1, features.to(text.pooled_BD.scalar_type())))) + text.pooled_BD;
  tap("temb", temb);
  tap("context_embedded", text.context_BLD);
  const auto cond = at::silu(temb);

  auto context = stream(text.context_BLD);
  for (size_t i = 0; i < m.blocks.size(); ++i) {
    if (std::find(options.skip_layers.begin(), options.skip_layers.end(), static_cast<int64_t>(i)) !=
        options.skip_layers.end())
      continue;
    const auto& block = m.blocks[i];
    const Tap block_tap{options.observer, options.observer ? "block" + std::to_string(i) + "." : ""};
    if (options.recompute && at::GradMode::is_enabled()) {
      const auto streams = recomputed(
          [&block, &c, block_tap](const Tensors& in) -> Tensors {
            auto x = in[0], t = in[1];
            joint_block(block, c.heads, x, t, in[2], block_tap);
            return {x, t};
          },
          {image, context, cond});
      image = streams[0];
      context = streams[1];
    } else {
      joint_block(block, c.heads, image, context, cond, block_tap);
    }
  }

  const auto out = linear(m.norm_out, cond).chunk(2, 1);  // stored (scale, shift)
  image = modulated_norm(image, out[1], out[0]);
  tap("norm_out", image);
  image = linear(m.proj_out, image);
  return image.view({batch, h, w, p, p, c.out_channels})
      .permute({0, 5, 1, 3, 2, 4})
      .reshape({batch, c.out_channels, h * p, w * p});
}

Tensor position_table(const MMDiTConfig& c) {
  const auto p = c.pos_embed_max_size, d = c.width();
  // diffusers scales grid coordinates so that they span the base size (whole patches a side), all in fp32; the
  // frequencies are fp64 and only the finished table is cast.
  const auto base = c.sample_size / c.patch_size;
  const auto grid = at::arange(p, at::kFloat) / (static_cast<double>(p) / static_cast<double>(base));
  const auto frequency = at::pow(10000.0, at::arange(d / 4, at::kDouble) / (d / 4.0)).reciprocal();
  const auto axis = [&](const Tensor& coordinate) {  // (P * P) -> (P * P, D / 2): sines, then cosines
    const auto angle = coordinate.to(at::kDouble).unsqueeze(1) * frequency.unsqueeze(0);
    return at::cat({at::sin(angle), at::cos(angle)}, 1);
  };
  const auto column = grid.view({1, p}).expand({p, p}).reshape({-1}),
             row = grid.view({p, 1}).expand({p, p}).reshape({-1});
  return at::cat({axis(column), axis(row)}, 1).to(at::kFloat).unsqueeze(0);
}

}  // namespace drm
