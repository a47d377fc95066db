// Kernels on raw pointers: no torch header, so that nvcc compiles them in seconds and they can be judged alone
// (modulation_check.cu). Reference: the composite forms in nn/modulation.cc and nn/attention.cc.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

namespace drm::cuda {

enum class Element { Fp32, Bf16 };

/// y[r] = (x[r] - mean) / sqrt(var + 1e-6) * (1 + scale[b]) + shift[b] for rows r of d values, b = r / rows_per_batch;
/// rows of shift and scale are `shift_stride` and `scale_stride` elements apart.
cudaError_t launch_modulated_norm(Element e, const void* x, const void* shift, const void* scale, void* y, int64_t rows,
                                  int64_t rows_per_batch, int64_t d, int64_t shift_stride, int64_t scale_stride,
                                  cudaStream_t stream);
/// out[r] = x[r] + gate[b] * y[r].
cudaError_t launch_gated_add(Element e, const void* x, const void* gate, const void* y, void* out, int64_t rows,
                             int64_t rows_per_batch, int64_t d, int64_t gate_stride, cudaStream_t stream);
/// y[r] = x[r] / sqrt(mean(x[r]^2) + 1e-6) * weight, for `rows` heads of k values.
cudaError_t launch_qk_norm(Element e, const void* x, const void* weight, void* y, int64_t rows, int64_t k,
                           cudaStream_t stream);

/// One stream's projections into the buffers that joint attention reads.
struct JointHeads {
  struct Part {
    const void* x;  // (batch * length) rows of d values, `x_stride` elements apart
    int64_t x_stride;
    const void* weight;          // of the norm over each head (k), null: copied as it is
    void* out;                   // (batch, out_length, d)
    int64_t out_length, offset;  // the stream's tokens begin at `offset`
  };
  Part parts[3];
  int count = 0;
};
/// out[b][offset + t] = x[b * length + t], each head of k values RMS-normed as by launch_qk_norm.
/// cudaErrorNotSupported: nothing was launched, since heads or rows are no whole number of 16-byte packs.
cudaError_t launch_joint_heads(Element e, const JointHeads& of, int64_t batch, int64_t length, int64_t d, int64_t k,
                               cudaStream_t stream);

}  // namespace drm::cuda
