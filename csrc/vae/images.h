// From latents to images as bytes, and to whoever listens.
#pragma once
#include <functional>

#include "common/control.h"
#include "vae/autoencoder.h"

namespace drm {

/// Latents (B, C, h, w) as the velocity network has them -> bytes (B, H, W, 3) on the CPU. `tile`: edge of a tile in
/// latent pixels; 0: tiled only when large; below 0: never.
Tensor decode_to_bytes(const Vae& v, const Tensor& latents, int64_t tile, const Control& control);

/// {height, width} and the bytes (H, W, 3).
Event image_event(const char* kind, const Tensor& bytes);

/// Which images emit_images() tells of, and how.
struct EmittedImages {
  int64_t first = 0;                                          // index of the first
  int64_t total = 0;                                          // of which "decode" reports tell; 0: these
  double seconds = 0;                                         // that decoding took before
  int64_t tile = 0;                                           // see decode_to_bytes()
  std::function<void(Event& event, int64_t index)> add = {};  // further fields
};
/// An event "image" {height, width, index} with the bytes of each row of latents (B, C, h, w), decoded one at a time: a
/// batch would multiply the peak memory. Reports phase "decode" in images.
void emit_images(const Vae& v, const Tensor& latents, const EmittedImages& images, const Control& control);

}  // namespace drm
