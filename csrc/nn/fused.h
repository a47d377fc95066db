// Fused forms of the element-wise operations of a transformer block: one pass over memory each, and on a CPU their
// gradients too (fused_grad.cc). The composite forms (modulation.h, attention.h) define the results.
// All arithmetic is fp32 with one rounding at the end, so that low-precision results are at least as exact as the
// composite's. Inputs are fp32 or bf16, on a CPU also fp16; there they may be mixed, as under autocast or beside an
// fp16 model's fp32 streams, and the results that only matrix products read are written in the dtype of these.
// Shapes: B batch, L tokens, D width, H heads, K channels of a head.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <optional>
#include <vector>

namespace drm::fused {

/// While one of these lives, this thread computes as if gradients were wanted: the same operations in the same order,
/// and so the same bits, as in a training pass. Policies sample so, since the ratio of an update compares the two.
class AsInTraining {
 public:
  AsInTraining();
  ~AsInTraining();
  AsInTraining(const AsInTraining&) = delete;
  AsInTraining& operator=(const AsInTraining&) = delete;

 private:
  bool before_;
};

/// Whether gradients may be wanted, or one of these lives.
bool in_training();

/// Nothing when the fused form does not apply: gradients wanted on CUDA, other dtypes, other layouts.
std::optional<at::Tensor> modulated_norm(const at::Tensor& x_BLD, const at::Tensor& shift_BD,
                                         const at::Tensor& scale_BD);
std::optional<at::Tensor> gated_add(const at::Tensor& x_BLD, const at::Tensor& gate_BD, const at::Tensor& y_BLD);
/// x as split_heads gives it, a (B, H, L, K) view of (B, L, H * K); the result is such a view too. Without gradients.
std::optional<at::Tensor> qk_norm(const at::Tensor& x_BHLK, const at::Tensor& weight_K);

/// One stream's projections, (B, L, D) each, and the weights (K) of their norms; undefined queries: it has none of its
/// own.
struct StreamHeads {
  at::Tensor q, k, v;
  at::Tensor norm_q, norm_k;
};
/// Queries, keys and values of streams that attend jointly, one stream's tokens after the other's, queries and keys
/// RMS-normed: (B, H, sum of L, K) views of (B, sum of L, H * K). Streams without queries come last. Only without
/// gradients, on CUDA.
std::optional<std::array<at::Tensor, 3>> joint_heads(const std::vector<StreamHeads>& streams, int64_t heads);

/// One stream's queries, keys and values side by side, and the weights of their norms.
struct HeadsInput {
  at::Tensor qkv;             // (B, L, 3 * D)
  at::Tensor norm_q, norm_k;  // (K)
};
/// Heads of streams that attend jointly, one stream's tokens after the other's: queries and keys RMS-normed, queries
/// times `factor`, all (B, H, sum of L, K). Only where gradients are wanted, on a CPU.
std::optional<std::array<at::Tensor, 3>> normed_heads(const std::vector<HeadsInput>& streams, int64_t heads,
                                                      double factor);

namespace cpu {
void modulated_norm(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale, at::Tensor& out);
void modulated_norm_backward(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& gy, at::Tensor& gx,
                             at::Tensor& gshift, at::Tensor& gscale);
void gated_add(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y, at::Tensor& out);
/// The gradient of x is gz itself.
void gated_add_backward(const at::Tensor& gate, const at::Tensor& y, const at::Tensor& gz, at::Tensor& gy,
                        at::Tensor& ggate);
void qk_norm(const at::Tensor& x_BLHK, const at::Tensor& weight, at::Tensor& out_BLHK);
/// Writes one stream's tokens from token `offset` on into the dense outputs.
void normed_heads(const HeadsInput& in, double factor, int64_t offset, std::array<at::Tensor, 3>& out_BHLK);
void normed_heads_backward(const HeadsInput& in, double factor, int64_t offset, const std::array<at::Tensor, 3>& g_BHLK,
                           at::Tensor& gqkv, at::Tensor& gnorm_q, at::Tensor& gnorm_k);
}  // namespace cpu

/// The same with gradients (fused_grad.cc); inputs fit already, out_dtype is that of the result.
namespace with_gradient {
at::Tensor modulated_norm(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale,
                          at::ScalarType out_dtype);
at::Tensor gated_add(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y, at::ScalarType out_dtype);
std::array<at::Tensor, 3> normed_heads(const std::vector<HeadsInput>& streams, int64_t heads, double factor,
                                       at::ScalarType out_dtype);
}  // namespace with_gradient

}  // namespace drm::fused
