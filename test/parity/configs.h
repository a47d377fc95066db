// Sizes of networks as the fixtures' config.json has them.
#pragma once
#include "models/sd3/sd3.h"
#include "reward/reward_net.h"
#include "tensor_io/json.h"

namespace drm::parity {

/// Of a backbone or a policy. Throws Failure(BadFile) naming what is missing.
MMDiTConfig mmdit_config(const Json& sizes);
/// Of a reward model: `backbone`, `keep_layers` and `head`.
RewardConfig reward_config(const Json& sizes);

}  // namespace drm::parity
