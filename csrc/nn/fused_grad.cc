// Autograd around the CPU kernels: forward saves the inputs alone, backward recomputes the statistics from them, which
// is cheaper than a trip to memory.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/fused.h"

namespace drm::fused::with_gradient {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor like(const Tensor& t) { return at::empty(t.sizes(), t.options()); }

struct ModulatedNorm : torch::autograd::Function<ModulatedNorm> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& shift, const Tensor& scale,
                        at::ScalarType out_dtype) {
    context->save_for_backward({x, scale});
    auto out = at::empty(x.sizes(), x.options().dtype(out_dtype));
    cpu::modulated_norm(x, shift, scale, out);
    return out;
  }
  static variable_list backward(AutogradContext* context, variable_list g) {
    const auto saved = context->get_saved_variables();
    auto gx = like(saved[0]), gshift = like(saved[1]), gscale = like(saved[1]);
    cpu::modulated_norm_backward(saved[0], saved[1], g[0].contiguous(), gx, gshift, gscale);
    return {gx, gshift, gscale, Tensor()};
  }
};

struct GatedAdd : torch::autograd::Function<GatedAdd> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& gate, const Tensor& y,
                        at::ScalarType out_dtype) {
    context->save_for_backward({gate, y});
    context->saved_data["x"] = static_cast<int64_t>(x.scalar_type());
    auto out = at::empty(x.sizes(), x.options().dtype(out_dtype));
    cpu::gated_add(x, gate, y, out);
    return out;
  }
  static variable_list backward(AutogradContext* context, variable_list g) {
    const auto saved = context->get_saved_variables();
    const auto gz = g[0].contiguous();
    auto ggate = like(saved[0]), gy = like(saved[1]);
    cpu::gated_add_backward(saved[0], saved[1], gz, gy, ggate);
    return {gz.to(static_cast<at::ScalarType>(context->saved_data["x"].toInt())), ggate, gy, Tensor()};
  }
};

/// Inputs in threes: (qkv, norm_q, norm_k) of each stream.
struct NormedHeads : torch::autograd::Function<NormedHeads> {
  static std::vector<HeadsInput> streams(const variable_list& tensors) {
    std::vector<HeadsInput> all;
    for (size_t i = 0; i < tensors.size(); i += 3) all.push_back({tensors[i], tensors[i + 1], tensors[i + 2]});
    return all;
  }
  static variable_list forward(AutogradContext* context, at::TensorList inputs, int64_t heads, double factor,
                               at::ScalarType out_dtype) {
    context->save_for_backward(inputs.vec());
    context->saved_data["factor"] = factor;
    int64_t tokens = 0;
    for (size_t i = 0; i < inputs.size(); i += 3) tokens += inputs[i].size(1);
    const auto& first = inputs[0];
    const auto empty = [&] {
      return at::empty({first.size(0), heads, tokens, first.size(2) / 3 / heads}, first.options().dtype(out_dtype));
    };
    std::array<Tensor, 3> out{empty(), empty(), empty()};
    int64_t offset = 0;
    for (const auto& stream : streams(inputs.vec())) {
      cpu::normed_heads(stream, factor, offset, out);
      offset += stream.qkv.size(1);
    }
    return {out[0], out[1], out[2]};
  }
  static variable_list backward(AutogradContext* context, variable_list g) {
    // Undefined gradients of outputs arrive as zeros.
    const std::array<Tensor, 3> gradients{g[0].contiguous(), g[1].contiguous(), g[2].contiguous()};
    variable_list result;
    int64_t offset = 0;
    for (const auto& stream : streams(context->get_saved_variables())) {
      auto gqkv = like(stream.qkv), gnorm_q = like(stream.norm_q), gnorm_k = like(stream.norm_k);
      cpu::normed_heads_backward(stream, context->saved_data["factor"].toDouble(), offset, gradients, gqkv, gnorm_q,
                                 gnorm_k);
      offset += stream.qkv.size(1);
      result.insert(result.end(), {gqkv, gnorm_q, gnorm_k});
    }
    result.insert(result.end(), 3, Tensor());  // nothing for heads, factor and dtype
    return result;
  }
};

}  // namespace

Tensor modulated_norm(const Tensor& x, const Tensor& shift, const Tensor& scale, at::ScalarType out_dtype) {
  return ModulatedNorm::apply(x, shift, scale, out_dtype);
}

Tensor gated_add(const Tensor& x, const Tensor& gate, const Tensor& y, at::ScalarType out_dtype) {
  return GatedAdd::apply(x, gate, y, out_dtype);
}

std::array<Tensor, 3> normed_heads(const std::vector<HeadsInput>& streams, int64_t heads, double factor,
                                   at::ScalarType out_dtype) {
  variable_list inputs;
  for (const auto& s : streams) inputs.insert(inputs.end(), {s.qkv, s.norm_q, s.norm_k});
  const auto out = NormedHeads::apply(at::TensorList(inputs), heads, factor, out_dtype);
  return {out[0], out[1], out[2]};
}

}  // namespace drm::fused::with_gradient
