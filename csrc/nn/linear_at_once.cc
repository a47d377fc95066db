#include "nn/linear_at_once.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "nn/autocast.h"

namespace drm {
namespace {

using Layers = std::vector<const Linear*>;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The adapters that count.
std::vector<const Lora*> adapters_of(const Linear& l) {
  std::vector<const Lora*> all;
  for (const auto& adapter : l.lora)
    if (adapter.enabled) all.push_back(&adapter);
  return all;
}

template <class F>
Tensor joined(const Layers& layers, F&& part) {
  if (layers.size() == 1) return part(*layers.front());
  std::vector<Tensor> parts;
  for (const auto* l : layers) parts.push_back(part(*l));
  return at::cat(parts);
}

bool can_fold(const Layers& layers, const Tensor& x) {
  const auto in = x.size(-1), rows = x.numel() / in;
  const auto exact = [](const Tensor& t) { return t.defined() && t.scalar_type() == at::kFloat; };
  return exact(x) && !Autocast::current(x.device().type()).enabled &&
         std::all_of(layers.begin(), layers.end(), [&](const Linear* l) {
           const auto out = l->weight.size(0);
           const auto adapters = adapters_of(*l);
           return adapters.size() == 1 && exact(l->weight) && exact(l->bias) && exact(adapters.front()->a) &&
                  !l->weight.requires_grad() && !l->bias.requires_grad() &&
                  rows * (in + out) > in * out;  // B A costs rank * in * out, B (A x) rank * (in + out) a row
         });
}

/// Inputs: x, then weight, A and B of each layer.
struct Folded : torch::autograd::Function<Folded> {
  static Tensor weights(at::TensorList inputs, const std::vector<double>& scales) {
    std::vector<Tensor> all;
    for (size_t i = 0; i < scales.size(); ++i)
      all.push_back(at::addmm(inputs[3 * i + 1], inputs[3 * i + 3], inputs[3 * i + 2], 1, scales[i]));
    return all.size() == 1 ? all.front() : at::cat(all);
  }

  static Tensor forward(AutogradContext* context, at::TensorList inputs, const Tensor& bias,
                        const std::vector<double>& scales) {
    context->save_for_backward(inputs.vec());
    context->saved_data["scales"] = scales;
    return at::linear(inputs[0], weights(inputs, scales), bias);
  }

  static variable_list backward(AutogradContext* context, variable_list g) {
    const auto inputs = context->get_saved_variables();
    const auto scales = context->saved_data["scales"].toDoubleVector();
    const auto x = inputs[0].reshape({-1, inputs[0].size(-1)}), gy = g[0].reshape({-1, g[0].size(-1)});
    variable_list result(inputs.size() + 2);  // nothing for weights, bias and scales
    if (context->needs_input_grad(0))
      // The folded weights anew: kept until now they would be a second copy of the model.
      result[0] = at::mm(gy, weights(inputs, scales)).view(inputs[0].sizes());
    std::vector<Tensor> as;
    for (size_t i = 0; i < scales.size(); ++i) as.push_back(inputs[3 * i + 2]);
    const auto down = at::mm(x, at::cat(as).t());  // A x of all, side by side
    auto gdown = at::empty_like(down);
    int64_t out = 0, rank = 0;
    for (size_t i = 0; i < scales.size(); ++i) {
      const auto& b = inputs[3 * i + 3];
      const auto gy_here = gy.narrow(1, out, b.size(0));
      auto gdown_here = gdown.narrow(1, rank, b.size(1));
      at::mm_out(gdown_here, gy_here, scales[i] * b);
      result[3 * i + 3] = at::mm(gy_here.t(), down.narrow(1, rank, b.size(1))).mul_(scales[i]);
      out += b.size(0);
      rank += b.size(1);
    }
    const auto ga = at::mm(gdown.t(), x);
    rank = 0;
    for (size_t i = 0; i < scales.size(); ++i) {
      result[3 * i + 2] = ga.narrow(0, rank, as[i].size(0));
      rank += as[i].size(0);
    }
    return result;
  }
};

}  // namespace

std::optional<Tensor> linear_with_folded_adapters(const Layers& layers, const Tensor& x) {
  if (!can_fold(layers, x)) return std::nullopt;
  variable_list inputs{x};
  std::vector<double> scales;
  for (const auto* l : layers) {
    const auto* adapter = adapters_of(*l).front();
    inputs.insert(inputs.end(), {l->weight, adapter->a, adapter->b});
    scales.push_back(adapter->scale);
  }
  return Folded::apply(at::TensorList(inputs), joined(layers, [](const Linear& l) { return l.bias; }), scales);
}

Tensor linear_at_once(const Layers& layers, const Tensor& x) {
  if (auto y = linear_with_folded_adapters(layers, x)) return *y;
  const bool apart = std::any_of(layers.begin(), layers.end(),
                                 [](const Linear* l) { return !adapters_of(*l).empty() || !l->bias.defined(); });
  if (!apart)
    return at::linear(x, joined(layers, [](const Linear& l) { return l.weight; }),
                      joined(layers, [](const Linear& l) { return l.bias; }));
  std::vector<Tensor> parts;
  for (const auto* l : layers) parts.push_back(linear(*l, x));
  return at::cat(parts, -1);
}

}  // namespace drm
