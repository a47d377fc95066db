// The handle of a reward model, which sampling takes too.
#pragma once
#include "api/reward_model.h"
#include "handle.h"

namespace drm::binding {

template <>
struct HandleType<RewardModel> {
  static constexpr const char* name = "reward model";
  static constexpr napi_type_tag tag = {0x64d09e2b7c1f48a5, 0xb3a87f10c52e964d};
};

}  // namespace drm::binding
