// Names of linear layers in a base's original code, for adapters that are made for it (kohya's, LyCORIS, ...).
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "tensor_io/key_names.h"

namespace drm {

struct OriginalLayers {
  std::string spelling;                      // what such an adapter is called: "sd3"
  std::string blocks, our_blocks;            // "joint_blocks" of theirs are "transformer_blocks" of ours
  std::vector<std::string> in_block, outer;  // the layers of a block, after "joint_blocks.0.", and the others
  /// Where the layers of ours are in an original layer's weight, whose key is given; empty for one that is none.
  /// `outputs` per input of the layer, which tells layers apart whose names do not.
  std::function<std::vector<Translated>(const std::string& weight, double outputs)> translate;
};

}  // namespace drm
