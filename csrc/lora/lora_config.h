// Which layers an adapter sits on, and how large it is.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace drm {

struct LoraConfig {
  int64_t rank = 32;
  double alpha = 64;
  /// A layer is adapted when its name ends in one of these (at a dot): "attn.to_q" fits transformer_blocks.0.attn.to_q
  /// and not transformer_blocks.0.attn2.to_q. Default: flow_grpo's.
  std::vector<std::string> targets = {"attn.add_k_proj", "attn.add_q_proj", "attn.add_v_proj", "attn.to_add_out",
                                      "attn.to_k",       "attn.to_out.0",   "attn.to_q",       "attn.to_v"};
};

}  // namespace drm
