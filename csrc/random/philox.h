// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3").
// A number depends only on what it is for (seed, purpose, step, sample, candidate, element), so results do not depend
// on batch size, order of evaluation or number of processes, and a resumed run needs no generator state.
// Header only and free of libtorch, so that a CUDA kernel can draw the same numbers where it uses them: every operation
// here is exact or rounded once as IEEE 754 says, so a CPU and a GPU draw the same bits. (The libraries' logarithms and
// sines differ in the last place.) Files that draw are compiled with -ffp-contract=off for the same reason.
#pragma once
#include <bit>
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
  Augment = 8,     // changes of a training image
  Caption = 9,     // which form of a caption a sample is trained with
  Dropout = 10,    // which of a layer's outputs are dropped
  Initial = 11,    // the noise that a trajectory of a rollout begins with
  Patches = 12,    // which patches of a training image are left out
};

struct Draw {
  uint64_t seed = 0;
  Purpose purpose = Purpose::Noise;
  uint32_t step = 0;       // training step, or step index of sampling
  uint32_t sample = 0;     // which image
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

namespace rounded {

// Products and sums that no compiler fuses: nvcc would.
DRM_HOST_DEVICE inline float mul(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
DRM_HOST_DEVICE inline float add(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}
DRM_HOST_DEVICE inline float root(float a) {
#ifdef __CUDA_ARCH__
  return __fsqrt_rn(a);
#else
  return std::sqrt(a);
#endif
}
DRM_HOST_DEVICE inline float bits_to_float(uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}
DRM_HOST_DEVICE inline uint32_t float_to_bits(float value) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(value);
#else
  return std::bit_cast<uint32_t>(value);
#endif
}

/// ln u of a normal number u in (0, 1): u = 2^e (1 + f) with f in [sqrt(1/2) - 1, sqrt(2) - 1), a polynomial in f whose
/// coefficients were fitted at Chebyshev's nodes (relative error 2.4e-8 before rounding), and e ln 2 in two parts, the
/// first short enough that its product with e is exact.
DRM_HOST_DEVICE inline float log(float u) {
  const uint32_t bits = float_to_bits(u);
  const int32_t e = static_cast<int32_t>(bits - 0x3f3504f3u) >> 23;
  const float f = bits_to_float(bits - (static_cast<uint32_t>(e) << 23)) - 1.0f, exponent = static_cast<float>(e);
  float p = -0.08101558685302734f;
  p = add(mul(p, f), 0.12712307274341583f);
  p = add(mul(p, f), -0.12972238659858704f);
  p = add(mul(p, f), 0.14202173054218292f);
  p = add(mul(p, f), -0.16642247140407562f);
  p = add(mul(p, f), 0.20001468062400818f);
  p = add(mul(p, f), -0.25000298023223877f);
  p = add(mul(p, f), 0.333333283662796f);
  const float square = mul(f, f);
  p = add(mul(mul(p, f), square), mul(exponent, -0.00021219444f));
  p = add(p, mul(-0.5f, square));
  return add(add(p, f), mul(exponent, 0.693359375f));
}

}  // namespace rounded

/// A word as a number in (0, 1): the middle of one of 2^24 equal intervals, rounded to fp32, and never 0 or 1.
DRM_HOST_DEVICE inline float uniform_from(uint32_t word) {
  const float u = (static_cast<float>(word >> 8) + 0.5f) * (1.0f / 16777216.0f);
  const uint32_t bits = rounded::float_to_bits(u), below_one = 0x3f7fffffu;
  return rounded::bits_to_float(bits < below_one ? bits : below_one);  // the last interval's middle would round to 1
}

/// Two standard normal numbers of two words (Box and Muller 1958): radius (cos, sin)(2 pi u). The angle is a quarter
/// turn's multiple and a remainder r of at most an eighth turn, both exact; the polynomials in r^2 are fitted as in
/// log(). Within 3e-7 of the exact pair for words as they come, relative to its radius.
DRM_HOST_DEVICE inline void normals_from(uint32_t a, uint32_t b, float* first, float* second) {
  using rounded::add, rounded::mul;
  const float radius = rounded::root(mul(-2.0f, rounded::log(uniform_from(a))));
  const float quarters = 4.0f * uniform_from(b);
  const auto quadrant = static_cast<int32_t>(quarters + 0.5f);
  const float r = quarters - static_cast<float>(quadrant), square = mul(r, r);
  float s = -0.004602131433784962f;
  s = add(mul(s, square), 0.07968021184206009f);
  s = add(mul(s, square), -0.6459634900093079f);
  s = mul(add(mul(s, square), 1.5707963705062866f), r);
  float c = 0.0009067390346899629f;
  c = add(mul(c, square), -0.02086152881383896f);
  c = add(mul(c, square), 0.253669410943985f);
  c = add(mul(c, square), -1.2337005138397217f);
  c = add(mul(c, square), 1.0f);
  // cos and sin after 0, 1, 2, 3 quarter turns: (c, s), (-s, c), (-c, -s), (s, -c). By bits: no branches.
  const auto turns = static_cast<uint32_t>(quadrant);
  const uint32_t cs = rounded::float_to_bits(c), ss = rounded::float_to_bits(s), swap = (cs ^ ss) & (0 - (turns & 1));
  *first = mul(radius, rounded::bits_to_float(cs ^ swap ^ ((turns + 1) >> 1 << 31)));
  *second = mul(radius, rounded::bits_to_float(ss ^ swap ^ (turns >> 1 << 31)));
}

/// The four standard normal numbers of a block.
DRM_HOST_DEVICE inline void normals(const Draw& d, uint32_t index, float out[4]) {
  const Philox4 block = philox(d, index);
  normals_from(block.word[0], block.word[1], out, out + 1);
  normals_from(block.word[2], block.word[3], out + 2, out + 3);
}

}  // namespace drm
