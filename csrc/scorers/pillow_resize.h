// Pillow's bicubic reduction and enlargement of 8-bit images, bit for bit: what CLIP and most scorers were trained
// and published with. Two passes in 22-bit fixed point, the first rounded to 8 bits; other libraries' "bicubic" differs
// by up to tens of levels at hard edges.
#pragma once
#include <cstdint>
#include <vector>

namespace drm {

/// An 8-bit image, row by row, channels interleaved.
struct Bitmap {
  std::vector<uint8_t> pixels;
  int64_t height = 0, width = 0, channels = 3;
};

/// Image.resize((width, height), BICUBIC) of an RGB or grey image. Threads as libtorch has them. Throws
/// Failure(BadRequest) for an empty image or size, or pixels that do not fill it.
Bitmap pillow_bicubic(const Bitmap& image, int64_t height, int64_t width);

/// How an image that is larger than the square loses its sides: the offset is (n - size) / 2, rounded down by
/// transformers' CLIPImageProcessor and half to even by torchvision's CenterCrop (OpenAI's CLIP).
enum class CropRule { Transformers, Torchvision };

/// Shorter side to `size` by pillow_bicubic, longer side in proportion (truncated), then the centre square.
Bitmap pillow_square(const Bitmap& image, int64_t size, CropRule rule = CropRule::Transformers);

}  // namespace drm
