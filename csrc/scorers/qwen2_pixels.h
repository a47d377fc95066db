// Images as Qwen2-VL sees them: at their own aspect, at a size of whole blocks of patches, cut into patches.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "scorers/pillow_resize.h"

namespace drm {

/// How an image is brought to size and cut.
struct Qwen2Pixels {
  int64_t patch = 14, merge = 2, frames = 2;           // pixels of a patch, patches of a block (a side), frames
  int64_t min_pixels = 200'704, max_pixels = 200'704;  // of the resized image: HPSv3's
  int64_t block() const { return patch * merge; }
};

struct PatchGrid {
  int64_t rows = 0, columns = 0;
  int64_t patches() const { return rows * columns; }
};

/// The image's sides at the nearest multiples of a block, both scaled so that their product comes down to max_pixels
/// or up to min_pixels (which they may then exceed by their rounding up). Throws Failure(BadRequest) for an image
/// without pixels or one whose longer side is more than 200 times the shorter.
PatchGrid qwen2_grid(int64_t height, int64_t width, const Qwen2Pixels& rule);

/// The image at the size of its grid, by Pillow's bicubic. Throws as qwen2_grid() and pillow_bicubic().
Bitmap qwen2_resized(const Bitmap& image, const Qwen2Pixels& rule);

/// pixels (1, 3, H, W) from clip_pixels, of whole blocks -> (patches, 3 * frames * patch * patch), fp32: a row has
/// channel, frame (all alike), row and column; rows go block by block, since a block's patches become one token.
at::Tensor qwen2_patches(const at::Tensor& pixels, const Qwen2Pixels& rule);

}  // namespace drm
