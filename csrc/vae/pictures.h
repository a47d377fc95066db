// From latents to pictures as bytes, and to whoever listens.
#pragma once
#include "common/control.h"
#include "vae/autoencoder.h"

namespace drm {

/// Latents (B, C, h, w) as the velocity network has them -> bytes (B, H, W, 3) on the CPU. `tile`: edge of a tile in
/// latent pixels; 0: tiled only when large; below 0: never.
Tensor decode_to_bytes(const Vae& v, const Tensor& latents, int64_t tile, const Control& control);

/// {height, width} and the bytes (H, W, 3).
Event picture_event(const char* kind, const Tensor& bytes);

}  // namespace drm
