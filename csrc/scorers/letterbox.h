// The images of HPSv2: the whole image inside a black square, resized as floats and never rounded to bytes
// (reference: tgxs002/HPSv2, its open_clip with `light_augmentation`). No torch header here.
#pragma once
#include <vector>

#include "scorers/pillow_resize.h"

namespace drm {

/// What a CLIP reads, (x - mean) / deviation by channel: 3 x size x size floats. The longer side becomes `size`, the
/// shorter one in proportion, half to even; the margins are black before the normalisation, the smaller of two unequal
/// ones left or on top. Values beyond 0 and 1 stay.
/// antialias: bicubic as torchvision computes it for tensors from 0.17 on (taps as wide as the reduction, a = -0.5);
/// without, as before (four taps, a = -0.75), which the published figures of 2023 were presumably made with.
/// Beyond the reference, which fails there: a 224 x 150 image gets its margins, and a side that would vanish is 1.
/// Throws Failure(BadRequest) for an empty image or pixels that do not fill it.
std::vector<float> letterbox(const Bitmap& image, int64_t size, bool antialias);

}  // namespace drm
