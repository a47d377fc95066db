// A run of one sample's normal numbers, for code that uses them as it draws them.
#pragma once
#include "random/philox.h"

namespace drm {

/// Numbers 4 * first_block to 4 * (first_block + blocks) of the stream, the bits that normals() gives block by block,
/// several blocks at a time in the processor's vectors.
void normal_row(const Draw& draw, uint32_t first_block, int64_t blocks, float* out);

}  // namespace drm
