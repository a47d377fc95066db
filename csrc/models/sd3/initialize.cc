#include "nn/initialize.h"

#include <ATen/ATen.h>

#include "models/sd3/mmdit.h"

namespace drm {

void initialize_mmdit(MMDiT& m, at::Generator generator) {
  m.positions.value = position_table(m.config);
  each(m, [&](const std::string& name, auto& leaf) {
    if constexpr (std::is_same_v<std::decay_t<decltype(leaf)>, Linear>) {
      if (name.ends_with("norm1.linear") || name.ends_with("norm1_context.linear") || name == "norm_out.linear" ||
          name == "proj_out")
        zero(leaf);
      else if (name.starts_with("time_text_embed."))
        normal_weight(leaf, 0.02, generator);
      else
        xavier_uniform(leaf, generator);
    } else {
      initialize_leaf(leaf, generator);
    }
  });
}

}  // namespace drm
