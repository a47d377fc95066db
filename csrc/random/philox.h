// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3").
// A number depends only on what it is for (seed, purpose, step, sample, candidate, element), so results do not depend
// on batch size, order of evaluation or number of processes, and a resumed run needs no generator state.
// Header only and free of libtorch, so that a CUDA kernel can draw the same numbers where it uses them.
#pragma once
#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define DRM_HOST_DEVICE __host__ __device__
#else
#define DRM_HOST_DEVICE
#endif

namespace drm {

/// What random numbers are for: two purposes never share a stream. Values are part of the file format of runs: append.
enum class Purpose : uint32_t {
  Noise = 1,       // the noise of x_t (Eq. 1)
  Timestep = 2,    // which noise level a sample is trained at
  Posterior = 3,   // sampling the VAE's posterior
  Drop = 4,        // dropping a prompt for guidance
  Branch = 5,      // candidates of a step (Eq. 6)
  Continue = 6,    // which candidate goes on
  Evaluation = 7,  // fixed draws of held-out losses
  Augment = 8,     // changes of a training picture
  Caption = 9,     // which form of a caption a sample is trained with
  Dropout = 10,    // which of a layer's outputs are dropped
};

struct Draw {
  uint64_t seed = 0;
  Purpose purpose = Purpose::Noise;
  uint32_t step = 0;       // training step, or step index of sampling
  uint32_t sample = 0;     // which picture
  uint32_t candidate = 0;  // below 2^24
};

struct Philox4 {
  uint32_t word[4];
};

/// Block `index` of a stream: four 32-bit words.
DRM_HOST_DEVICE inline Philox4 philox(const Draw& d, uint32_t index) {
  constexpr uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
  constexpr uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
  uint32_t c0 = index, c1 = d.sample, c2 = d.step,
           c3 = static_cast<uint32_t>(d.purpose) << 24 | (d.candidate & 0xFFFFFFu);
  uint32_t k0 = static_cast<uint32_t>(d.seed), k1 = static_cast<uint32_t>(d.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(kMultiplier0) * c0, p1 = static_cast<uint64_t>(kMultiplier1) * c2;
    const auto hi0 = static_cast<uint32_t>(p0 >> 32), hi1 = static_cast<uint32_t>(p1 >> 32);
    const uint32_t n0 = hi1 ^ c1 ^ k0, n2 = hi0 ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return {{c0, c1, c2, c3}};
}

/// A word as a number in (0, 1): the middle of one of 2^24 equal intervals, exact in fp32, never 0 or 1.
DRM_HOST_DEVICE inline float uniform_from(uint32_t word) {
  return (static_cast<float>(word >> 8) + 0.5f) * (1.0f / 16777216.0f);
}

/// Two standard normal numbers of two words (Box and Muller 1958), in fp32.
DRM_HOST_DEVICE inline void normals_from(uint32_t a, uint32_t b, float* first, float* second) {
  const float radius = sqrtf(-2.0f * logf(uniform_from(a)));
  const float angle = 6.283185307179586f * uniform_from(b);
  *first = radius * cosf(angle);
  *second = radius * sinf(angle);
}

/// The four standard normal numbers of a block.
DRM_HOST_DEVICE inline void normals(const Draw& d, uint32_t index, float out[4]) {
  const Philox4 block = philox(d, index);
  normals_from(block.word[0], block.word[1], out, out + 1);
  normals_from(block.word[2], block.word[3], out + 2, out + 3);
}

}  // namespace drm
