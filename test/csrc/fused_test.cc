// The fused operations against their composite definitions, over shapes that vectors do not divide.
#include "nn/fused.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <functional>

#include "check.h"
#include "cuda/kernels.h"
#include "device.h"
#include "nn/attention.h"
#include "nn/autocast.h"
#include "nn/linear_at_once.h"
#include "nn/modulation.h"

using namespace drm;
using at::Tensor;

namespace {

struct Shape {
  int64_t b, l, d;
};
const std::vector<Shape> kShapes = {{1, 1, 1},     {2, 3, 7},  {2, 16, 64}, {3, 5, 1536},
                                    {1, 333, 192}, {4, 1, 33}, {2, 0, 8}};

Tensor noise(at::IntArrayRef shape, at::ScalarType dtype) { return test::randn(shape).to(dtype); }

/// Measured: fp32 differs by a few units in the last place; fp16 and bf16 by one rounding.
void close(const Tensor& got, const Tensor& want, at::ScalarType dtype) {
  CHECK(got.sizes() == want.sizes());
  CHECK(got.scalar_type() == dtype);
  if (!got.numel()) return;
  const auto difference = (got.to(at::kDouble) - want.to(at::kDouble)).abs();
  const double bound = dtype == at::kFloat ? 4e-6 : dtype == at::kHalf ? 1e-3 : 0.04;
  const auto allowed = want.to(at::kDouble).abs() * bound + bound;
  CHECK(difference.le(allowed).all().item<bool>());
}

}  // namespace

TEST(modulated_norm_equals_its_definition) {
  at::manual_seed(1);
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16})
    for (const auto& s : kShapes) {
      const auto x = noise({s.b, s.l, s.d}, dtype) * 3 + 1;
      const auto chunks = noise({s.b, 3 * s.d}, dtype).chunk(3, 1);  // strided rows, as adaLN gives them
      const auto fused = fused::modulated_norm(x, chunks[0], chunks[2]);
      if (x.is_cuda() && dtype == at::kHalf) continue;  // our CUDA kernels have no fp16
      CHECK(fused.has_value());
      if (s.d > 1)
        close(*fused, composite::modulated_norm(x.to(at::kFloat), chunks[0].to(at::kFloat), chunks[2].to(at::kFloat)),
              dtype);
    }
}

TEST(gated_add_equals_its_definition) {
  at::manual_seed(2);
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16})
    for (const auto& s : kShapes) {
      const auto x = noise({s.b, s.l, s.d}, dtype), y = noise({s.b, s.l, s.d}, dtype);
      const auto gate = noise({s.b, 2 * s.d}, dtype).chunk(2, 1)[1];
      const auto fused = fused::gated_add(x, gate, y);
      if (x.is_cuda() && dtype == at::kHalf) continue;  // our CUDA kernels have no fp16
      CHECK(fused.has_value());
      close(*fused, composite::gated_add(x.to(at::kFloat), gate.to(at::kFloat), y.to(at::kFloat)), dtype);
    }
}

TEST(qk_norm_equals_its_definition) {
  at::manual_seed(3);
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16})
    for (const int64_t k : {1, 16, 24, 64}) {
      const auto x = split_heads(noise({2, 5, 3 * k}, dtype), 3);
      const auto weight = noise({k}, dtype);
      const auto fused = fused::qk_norm(x, weight);
      if (x.is_cuda() && dtype == at::kHalf) continue;  // our CUDA kernels have no fp16
      CHECK(fused.has_value());
      close(*fused, composite::qk_norm(x.to(at::kFloat), weight.to(at::kFloat)), dtype);
    }
}

TEST(joint_heads_equal_their_definition) {
  at::manual_seed(4);
  for (const auto dtype : {at::kFloat, at::kBFloat16})
    for (const int64_t k : {16, 24, 64}) {
      const int64_t d = 3 * k;
      // Slices of wider rows; the second stream has no queries of its own.
      const auto rows = [&](int64_t l) { return noise({2, l, 3 * d}, dtype).chunk(3, 2); };
      const auto image = rows(5), text = rows(4);
      const auto norm_q = noise({k}, dtype), norm_k = noise({k}, dtype);
      const auto fused =
          fused::joint_heads({{image[0], image[1], image[2], norm_q, norm_k}, {{}, text[1], text[2], {}, norm_k}}, 3);
      // Heads of a power of two of 16-byte packs, on CUDA; else the caller's own operations.
      CHECK_EQ(fused.has_value(), test::device().is_cuda() && cuda::compiled() && (k == 16 || k == 64));
      if (!fused) continue;
      const auto normed = [&](const Tensor& x, const Tensor& w) {
        return composite::qk_norm(split_heads(x.contiguous().to(at::kFloat), 3), w.to(at::kFloat));
      };
      const auto value = [&](const Tensor& x) { return split_heads(x.contiguous().to(at::kFloat), 3); };
      close((*fused)[0], normed(image[0], norm_q), dtype);
      close((*fused)[1], at::cat({normed(image[1], norm_k), normed(text[1], norm_k)}, 2), dtype);
      close((*fused)[2], at::cat({value(image[2]), value(text[2])}, 2), dtype);
    }
}

TEST(fused_forms_step_aside_for_strange_layouts) {
  const auto x = test::randn({2, 3, 8}), rows = test::randn({2, 8});
  CHECK(!fused::modulated_norm(x.transpose(0, 1), rows, rows));
  CHECK(!fused::gated_add(x.to(at::kDouble), rows.to(at::kDouble), x.to(at::kDouble)));
  CHECK(!fused::modulated_norm(x, rows.to(at::kBFloat16), rows));
  CHECK(!fused::qk_norm(split_heads(x, 2).requires_grad_(), test::randn({4})));
  CHECK(!fused::normed_heads({{at::randn({2, 3, 24}), at::randn({4}), at::randn({4})}}, 2, 1));  // no gradient wanted
  // ... and the public functions then still answer.
  const auto leaf = test::randn({3, 2, 8}).requires_grad_();
  modulated_norm(leaf.transpose(0, 1), rows, rows).sum().backward();
  CHECK(leaf.grad().defined());
}

namespace {

using Function = std::function<Tensor(const std::vector<Tensor>&)>;

/// The result and the gradients of sum(result * weights), in double.
std::vector<Tensor> value_and_gradients(const Function& f, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> leaves, all;
  for (const auto& t : inputs) leaves.push_back(t.detach().clone().requires_grad_());
  const auto y = f(leaves);
  all.push_back(y.detach().to(at::kDouble));
  at::manual_seed(7);
  (y.to(at::kDouble) * at::randn(y.sizes(), at::kDouble)).sum().backward();
  for (const auto& t : leaves) {
    CHECK(t.grad().scalar_type() == t.scalar_type());
    all.push_back(t.grad().to(at::kDouble));
  }
  return all;
}

/// Root mean square of the difference over that of `want`.
double distance(const Tensor& got, const Tensor& want) {
  CHECK(got.sizes() == want.sizes());
  return ((got - want).norm() / want.norm().clamp_min(1e-30)).item<double>();
}

std::vector<Tensor> as(const std::vector<Tensor>& tensors, at::ScalarType dtype) {
  std::vector<Tensor> out;
  for (const auto& t : tensors) out.push_back(t.to(dtype));
  return out;
}

/// Values and gradients of a fused form against its definition in double; in fp32 within `fp32` of it, and where inputs
/// are (partly) in 16 bits at most `worse` times as far off as the definition in the same dtypes.
void check_gradients(const Function& fused, const Function& definition, const std::vector<Tensor>& inputs,
                     const std::vector<at::ScalarType>& mixed, double fp32 = 4e-6, double worse = 1.02) {
  const auto single = as(inputs, at::kFloat);
  const auto exact = value_and_gradients(definition, as(single, at::kDouble));
  const auto got = value_and_gradients(fused, single);
  for (size_t i = 0; i < got.size(); ++i) CHECK(distance(got[i], exact[i]) < fp32);

  std::vector<Tensor> low;
  for (size_t i = 0; i < inputs.size(); ++i) low.push_back(inputs[i].to(mixed[i]));
  const auto want = value_and_gradients(definition, as(low, at::kDouble));
  const auto ours = value_and_gradients(fused, low), composite = value_and_gradients(definition, low);
  for (size_t i = 0; i < ours.size(); ++i) {
    const auto fused_off = distance(ours[i], want[i]), composite_off = distance(composite[i], want[i]);
    if (fused_off > worse * composite_off + fp32)
      std::fprintf(stderr, "tensor %zu: fused %g, composite %g\n", i, fused_off, composite_off);
    CHECK(fused_off <= worse * composite_off + fp32);
  }
}

constexpr auto kFull = at::kFloat;
constexpr auto kLows = {at::kBFloat16, at::kHalf};

// The definition that casts to fp32 inside cannot be run in double; this one can.
Tensor rms_norm(const Tensor& x, const Tensor& weight) {
  return x * at::rsqrt(x.square().mean(-1, true) + 1e-6) * weight;
}

/// Three outputs as one, so that one weighted sum reaches them all.
Tensor stacked(const Tensor& q, const Tensor& k, const Tensor& v) {
  return at::stack({q.contiguous(), k.contiguous(), v.contiguous()});
}

Tensor heads_by_definition(const std::vector<Tensor>& in, double factor) {
  std::vector<Tensor> q, k, v;
  for (size_t i = 0; i < in.size(); i += 3) {
    const auto parts = in[i].chunk(3, 2);
    q.push_back(rms_norm(split_heads(parts[0], 3), in[i + 1]) * factor);
    k.push_back(rms_norm(split_heads(parts[1], 3), in[i + 2]));
    v.push_back(split_heads(parts[2], 3));
  }
  return stacked(at::cat(q, 2), at::cat(k, 2), at::cat(v, 2));
}

Tensor fused_heads(const std::vector<Tensor>& in, double factor) {
  std::vector<fused::HeadsInput> streams;
  for (size_t i = 0; i < in.size(); i += 3) streams.push_back({in[i], in[i + 1], in[i + 2]});
  const auto h = fused::normed_heads(streams, 3, factor);
  CHECK(h.has_value());
  return stacked((*h)[0], (*h)[1], (*h)[2]);
}

Tensor fused_norm(const std::vector<Tensor>& in) { return *fused::modulated_norm(in[0], in[1], in[2]); }
Tensor norm_by_definition(const std::vector<Tensor>& in) { return composite::modulated_norm(in[0], in[1], in[2]); }

// Blocks of rows, several blocks, rows that vectors do not divide.
const std::vector<Shape> kTrained = {{2, 3, 7}, {2, 16, 64}, {3, 5, 1536}, {1, 333, 192}, {2, 130, 33}};

}  // namespace

TEST(modulated_norm_has_the_gradients_of_its_definition) {
  at::manual_seed(4);
  for (const auto& s : kTrained) {
    const std::vector<Tensor> in{at::randn({s.b, s.l, s.d}) * 3 + 1, at::randn({s.b, s.d}), at::randn({s.b, s.d})};
    for (const auto low : kLows) {
      check_gradients(fused_norm, norm_by_definition, in, {low, low, low});
      check_gradients(fused_norm, norm_by_definition, in, {kFull, low, low});
    }
  }
}

TEST(gated_add_has_the_gradients_of_its_definition) {
  at::manual_seed(5);
  const Function f = [](const std::vector<Tensor>& in) { return *fused::gated_add(in[0], in[1], in[2]); };
  const Function definition = [](const std::vector<Tensor>& in) { return composite::gated_add(in[0], in[1], in[2]); };
  for (const auto& s : kTrained) {
    const std::vector<Tensor> in{at::randn({s.b, s.l, s.d}), at::randn({s.b, s.d}), at::randn({s.b, s.l, s.d})};
    check_gradients(f, definition, in, {at::kBFloat16, at::kBFloat16, at::kBFloat16});
    for (const auto low : kLows) check_gradients(f, definition, in, {kFull, low, low});  // fp16 streams are fp32
  }
}

TEST(normed_heads_have_the_gradients_of_their_definition) {
  at::manual_seed(6);
  const Function f = [](const std::vector<Tensor>& in) { return fused_heads(in, 0.3); };
  const Function definition = [](const std::vector<Tensor>& in) { return heads_by_definition(in, 0.3); };
  for (const int64_t k : {5, 24, 64}) {
    const auto stream = [&](int64_t tokens) {
      return std::vector<Tensor>{at::randn({2, tokens, 9 * k}), at::randn({k}), at::randn({k})};
    };
    const auto one = stream(7);
    auto two = one;
    for (const auto& t : stream(70)) two.push_back(t);
    for (const auto low : kLows) {
      // Of a few weights' gradients, rounded once on either side, fp16 leaves to luck which are nearer.
      const double worse = low == at::kHalf ? 1.5 : 1.02;
      check_gradients(f, definition, one, {low, low, low}, 4e-6, worse);
      check_gradients(f, definition, two, {low, kFull, kFull, low, kFull, kFull}, 4e-6, worse);
    }
  }
}

TEST(gradients_are_numerical_derivatives) {
  // Central differences of the definitions in double, one direction an input: no autograd on that side.
  at::manual_seed(8);
  const auto directional = [](const Function& fused, const Function& definition, const std::vector<Tensor>& inputs) {
    const auto got = value_and_gradients(fused, inputs);
    at::manual_seed(7);
    const auto weights = at::randn(got[0].sizes(), at::kDouble);
    for (size_t i = 0; i < inputs.size(); ++i) {
      const auto direction = at::randn(inputs[i].sizes(), at::kDouble);
      const auto at_distance = [&](double h) {
        auto moved = as(inputs, at::kDouble);
        moved[i] = moved[i] + h * direction;
        return (definition(moved) * weights).sum().item<double>();
      };
      const double h = 1e-5, slope = (at_distance(h) - at_distance(-h)) / (2 * h);
      const auto ours = (got[i + 1] * direction).sum().item<double>();
      CHECK(std::abs(ours - slope) < 2e-5 * (1 + got[i + 1].norm().item<double>()));
    }
  };
  directional(fused_norm, norm_by_definition, {at::randn({2, 70, 24}), at::randn({2, 24}), at::randn({2, 24})});
  directional([](const auto& in) { return *fused::gated_add(in[0], in[1], in[2]); },
              [](const auto& in) { return composite::gated_add(in[0], in[1], in[2]); },
              {at::randn({2, 70, 24}), at::randn({2, 24}), at::randn({2, 70, 24})});
  directional([](const auto& in) { return fused_heads(in, 0.3); },
              [](const auto& in) { return heads_by_definition(in, 0.3); },
              {at::randn({2, 70, 72}), at::randn({8}), at::randn({8})});
}

TEST(gradients_do_not_depend_on_the_number_of_threads) {
  at::manual_seed(9);
  const std::vector<Tensor> norm{at::randn({3, 1000, 96}), at::randn({3, 96}), at::randn({3, 96})},
      heads{at::randn({3, 1000, 288}), at::randn({32}), at::randn({32})};
  const auto all = [&] {
    auto out = value_and_gradients(fused_norm, norm);
    for (const auto& t : value_and_gradients([](const auto& in) { return fused_heads(in, 1); }, heads))
      out.push_back(t);
    return out;
  };
  const auto threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto alone = all();
  at::set_num_threads(4);
  const auto together = all();
  at::set_num_threads(threads);
  for (size_t i = 0; i < alone.size(); ++i) CHECK(at::equal(alone[i], together[i]));
}

TEST(under_autocast_what_products_read_is_in_its_dtype_and_the_stream_stays_fp32) {
  for (const auto low : kLows) {
    const Autocast autocast(at::kCPU, low);
    const auto x = at::randn({2, 3, 8}).requires_grad_(), rows = at::randn({2, 8}).to(low);
    CHECK(modulated_norm(x, rows, rows).scalar_type() == low);
    CHECK(gated_add(x, rows, x.to(low)).scalar_type() == at::kFloat);
  }
}

TEST(an_fp16_models_stream_is_fp32_and_what_products_read_is_fp16) {
  const auto x = at::randn({2, 3, 8}) * 1e5, rows = at::randn({2, 8}).to(at::kHalf),
             y = at::randn({2, 3, 8}).to(at::kHalf);
  for (const auto& normed : {modulated_norm(x, rows, rows), composite::modulated_norm(x, rows, rows)}) {
    CHECK(normed.scalar_type() == at::kHalf);
    CHECK(at::isfinite(normed).all().item<bool>());
  }
  for (const auto& sum : {gated_add(x, rows, y), composite::gated_add(x, rows, y)})
    CHECK(sum.scalar_type() == at::kFloat);
}

TEST(a_row_of_nan_stays_nan) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto x = at::full({1, 2, 8}, std::numeric_limits<float>::quiet_NaN(), test::device()).to(dtype),
               rows = at::zeros({1, 8}, test::device()).to(dtype);
    CHECK(at::isnan(*fused::modulated_norm(x, rows, rows)).all().item<bool>());
    CHECK(at::isnan(*fused::gated_add(x, rows, x)).all().item<bool>());
  }
}

TEST(folded_adapters_give_the_values_and_gradients_of_adapters_beside_the_base) {
  at::manual_seed(11);
  const int64_t in = 24;
  std::vector<Linear> layers;
  for (const int64_t out : {16, 24, 40}) {
    Lora lora{at::randn({3, in}).requires_grad_(), at::randn({out, 3}).requires_grad_(), 0.5 + out / 16.0};
    layers.push_back({at::randn({out, in}), at::randn({out}), {std::move(lora)}});
  }
  const std::vector<const Linear*> all{&layers[0], &layers[1], &layers[2]};
  const auto x = at::randn({4, 10, in}).requires_grad_(), weight = at::randn({4, 10, 80});
  std::vector<Tensor> leaves{x};
  for (const auto& l : layers) leaves.insert(leaves.end(), {l.lora.front().a, l.lora.front().b});
  const auto gradients = [&](const Tensor& y) {
    for (auto& leaf : leaves) leaf.mutable_grad() = Tensor();
    (y * weight).sum().backward();
    std::vector<Tensor> all{y.detach()};
    for (const auto& leaf : leaves) all.push_back(leaf.grad().clone());
    return all;
  };
  const auto folded = linear_with_folded_adapters(all, x);
  CHECK(folded.has_value());
  std::vector<Tensor> parts;
  for (const auto& l : layers)
    parts.push_back(at::linear(x, l.weight, l.bias) +
                    l.lora.front().scale * at::linear(at::linear(x, l.lora.front().a), l.lora.front().b));
  const auto got = gradients(*folded), want = gradients(at::cat(parts, -1));
  for (size_t i = 0; i < want.size(); ++i) CHECK(at::allclose(got[i], want[i], 1e-4, 1e-4));

  // Elsewhere the adapter runs beside the base: rows too few to be worth it, a base that is trained, no adapter on.
  CHECK(!linear_with_folded_adapters(all, x.narrow(0, 0, 1)));
  layers[1].weight.requires_grad_();
  CHECK(!linear_with_folded_adapters(all, x));
  CHECK(at::allclose(linear_at_once(all, x), want[0], 1e-4, 1e-4));
  layers[1].weight.requires_grad_(false);
  for (auto& l : layers) l.lora.front().enabled = false;
  CHECK(!linear_with_folded_adapters(all, x));
  const auto base = at::cat({linear(layers[0], x), linear(layers[1], x), linear(layers[2], x)}, -1);
  CHECK(at::allclose(linear_at_once(all, x), base, 1e-5, 1e-5));
}

DRM_TEST_MAIN
