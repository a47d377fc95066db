// The leaves every model here is made of: plain structs of tensors, and the free functions that apply them.
//
// A model is built from its config with tensors on the `meta` device (shapes, no memory), then filled from a file or
// from a generator. A visitor `each(model, name, v)` calls v(name, leaf) for every leaf in the order of declaration;
// loading, counting, random initialisation, and later LoRA, optimizers and EMA are all callers of it.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "common/failure.h"
#include "tensor_io/weights.h"

namespace drm {

using at::Tensor;

/// A low-rank adapter of a linear layer; see lora/adapter.h.
struct Lora {
  Tensor a, b;  // (rank, in), (out, rank), fp32
  double scale = 1;
  bool enabled = true;
};
struct Linear {
  Tensor weight, bias;     // (out, in), (out) or undefined
  std::vector<Lora> lora;  // their contributions add up
};
struct Conv2d {
  Tensor weight, bias;  // (out, in, k, k), (out) or undefined
};
struct Norm {
  Tensor weight, bias;  // (features), (features) or undefined
};
struct Table {
  Tensor weight;  // an embedding (rows, features)
};
struct Parameter {
  Tensor value;  // a bare tensor that is trained: a class token, a logit scale
};
struct Buffer {
  Tensor value;  // stored with the weights, but computed, not trained
};

Linear make_linear(int64_t in, int64_t out, bool bias = true);
Conv2d make_conv(int64_t in, int64_t out, int64_t kernel, bool bias = true);
Norm make_norm(int64_t features, bool bias = true);
Table make_table(int64_t rows, int64_t features);
Parameter make_parameter(at::IntArrayRef shape);
Buffer make_buffer(at::IntArrayRef shape);

/// x (..., in) -> (..., out). Weights of 16 bits beside an fp32 x are widened (nn/widened_linear.h).
Tensor linear(const Linear& l, const Tensor& x);
/// GELU (tanh-approximated) of it. On CUDA without gradients it is the matrix product's own last step.
Tensor linear_gelu(const Linear& l, const Tensor& x);
/// x (B, in, H, W); zero padding on every side.
Tensor conv2d(const Conv2d& c, const Tensor& x, int64_t stride, int64_t padding);
/// LayerNorm over the last axis with weight and bias.
Tensor layer_norm(const Norm& n, const Tensor& x, double eps);
/// RMS norm over the last axis with fp32 statistics, cast to the weight's dtype before the weight is applied.
Tensor rms_norm(const Norm& n, const Tensor& x, double eps);
/// Rows of the table: ids (...) -> (..., features).
Tensor look_up(const Table& t, const Tensor& ids);

/// Calls f(name, tensor) for the defined tensors of one leaf; parameter names are PyTorch's.
template <class F>
void each_tensor(const std::string& name, Linear& l, F&& f) {
  f(name + ".weight", l.weight);
  if (l.bias.defined()) f(name + ".bias", l.bias);
}
template <class F>
void each_tensor(const std::string& name, Conv2d& c, F&& f) {
  f(name + ".weight", c.weight);
  if (c.bias.defined()) f(name + ".bias", c.bias);
}
template <class F>
void each_tensor(const std::string& name, Norm& n, F&& f) {
  f(name + ".weight", n.weight);
  if (n.bias.defined()) f(name + ".bias", n.bias);
}
template <class F>
void each_tensor(const std::string& name, Table& t, F&& f) {
  f(name + ".weight", t.weight);
}
template <class F>
void each_tensor(const std::string& name, Parameter& p, F&& f) {
  f(name, p.value);
}
template <class F>
void each_tensor(const std::string& name, Buffer& b, F&& f) {
  f(name, b.value);
}

/// A leaf of any kind, and what looks at the leaves of a model whose kind is not known.
using Leaf = std::variant<Linear*, Conv2d*, Norm*, Table*, Parameter*, Buffer*>;
using LeafVisitor = std::function<void(const std::string& name, Leaf leaf)>;

/// Every tensor of a model with its name, for any model that has a visitor `each(model, v)`.
template <class Model, class F>
void each_tensor(Model& m, F&& f) {
  each(m, [&](const std::string& name, auto& leaf) { each_tensor(name, leaf, f); });
}

struct Size {
  int64_t parameters = 0;  // numbers that are trained: buffers do not count
  int64_t tensors = 0;     // entries of a weights file: buffers count
};
template <class Model>
Size size_of(Model& m) {
  Size s;
  each(m, [&](const std::string& name, auto& leaf) {
    constexpr bool trained = !std::is_same_v<std::decay_t<decltype(leaf)>, Buffer>;
    each_tensor(name, leaf, [&](const std::string&, Tensor& t) {
      if (trained) s.parameters += t.numel();
      ++s.tensors;
    });
  });
  return s;
}

template <class Model>
std::vector<WantedTensor> wanted(Model& m) {
  std::vector<WantedTensor> all;
  each_tensor(m, [&](const std::string& name, Tensor& t) { all.push_back({name, t.sizes().vec(), &t}); });
  return all;
}

/// Looks into a forward pass: called with a name relative to the model and the tensor. For parity tests and debugging.
using Observer = std::function<void(const std::string& name, const Tensor& value)>;

}  // namespace drm
