// The fused operations against their composite definitions, over shapes that vectors do not divide.
#include "nn/fused.h"

#include <ATen/ATen.h>

#include "check.h"
#include "nn/attention.h"
#include "nn/modulation.h"

using namespace drm;
using at::Tensor;

namespace {

struct Shape {
  int64_t b, l, d;
};
const std::vector<Shape> kShapes = {{1, 1, 1},     {2, 3, 7},  {2, 16, 64}, {3, 5, 1536},
                                    {1, 333, 192}, {4, 1, 33}, {2, 0, 8}};

Tensor noise(at::IntArrayRef shape, at::ScalarType dtype) { return at::randn(shape).to(dtype); }

/// Measured: fp32 differs by a few units in the last place; bf16 by the composite's roundings between operations.
void close(const Tensor& got, const Tensor& want, at::ScalarType dtype) {
  CHECK(got.sizes() == want.sizes());
  CHECK(got.scalar_type() == dtype);
  if (!got.numel()) return;
  const auto difference = (got.to(at::kDouble) - want.to(at::kDouble)).abs();
  const auto allowed =
      want.to(at::kDouble).abs() * (dtype == at::kFloat ? 4e-6 : 0.04) + (dtype == at::kFloat ? 4e-6 : 0.04);
  CHECK(difference.le(allowed).all().item<bool>());
}

}  // namespace

TEST(modulated_norm_equals_its_definition) {
  at::manual_seed(1);
  for (const auto dtype : {at::kFloat, at::kBFloat16})
    for (const auto& s : kShapes) {
      const auto x = noise({s.b, s.l, s.d}, dtype) * 3 + 1;
      const auto chunks = noise({s.b, 3 * s.d}, dtype).chunk(3, 1);  // strided rows, as adaLN gives them
      const auto fused = fused::modulated_norm(x, chunks[0], chunks[2]);
      CHECK(fused.has_value());
      if (s.d > 1)
        close(*fused, composite::modulated_norm(x.to(at::kFloat), chunks[0].to(at::kFloat), chunks[2].to(at::kFloat)),
              dtype);
    }
}

TEST(gated_add_equals_its_definition) {
  at::manual_seed(2);
  for (const auto dtype : {at::kFloat, at::kBFloat16})
    for (const auto& s : kShapes) {
      const auto x = noise({s.b, s.l, s.d}, dtype), y = noise({s.b, s.l, s.d}, dtype);
      const auto gate = noise({s.b, 2 * s.d}, dtype).chunk(2, 1)[1];
      const auto fused = fused::gated_add(x, gate, y);
      CHECK(fused.has_value());
      close(*fused, composite::gated_add(x.to(at::kFloat), gate.to(at::kFloat), y.to(at::kFloat)), dtype);
    }
}

TEST(qk_norm_equals_its_definition) {
  at::manual_seed(3);
  for (const auto dtype : {at::kFloat, at::kBFloat16})
    for (const int64_t k : {1, 16, 24, 64}) {
      const auto x = split_heads(noise({2, 5, 3 * k}, dtype), 3);
      const auto weight = noise({k}, dtype);
      const auto fused = fused::qk_norm(x, weight);
      CHECK(fused.has_value());
      close(*fused, composite::qk_norm(x.to(at::kFloat), weight.to(at::kFloat)), dtype);
    }
}

TEST(fused_forms_step_aside_for_gradients_and_strange_layouts) {
  const auto x = at::randn({2, 3, 8}), rows = at::randn({2, 8});
  CHECK(!fused::modulated_norm(at::randn({2, 3, 8}).requires_grad_(), rows, rows));
  CHECK(!fused::gated_add(x, at::randn({2, 8}).requires_grad_(), x));
  CHECK(!fused::modulated_norm(x.transpose(0, 1), rows, rows));
  CHECK(!fused::gated_add(x.to(at::kDouble), rows.to(at::kDouble), x.to(at::kDouble)));
  CHECK(!fused::modulated_norm(x, rows.to(at::kBFloat16), rows));
  // ... and the public functions then still answer.
  const auto leaf = at::randn({2, 3, 8}).requires_grad_();
  modulated_norm(leaf, rows, rows).sum().backward();
  CHECK(leaf.grad().defined());
}

TEST(a_row_of_nan_stays_nan) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto x = at::full({1, 2, 8}, std::numeric_limits<float>::quiet_NaN()).to(dtype),
               rows = at::zeros({1, 8}).to(dtype);
    CHECK(at::isnan(*fused::modulated_norm(x, rows, rows)).all().item<bool>());
    CHECK(at::isnan(*fused::gated_add(x, rows, x)).all().item<bool>());
  }
}

DRM_TEST_MAIN
