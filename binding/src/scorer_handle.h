// The handle of a scorer, which sampling takes too.
#pragma once
#include "handle.h"
#include "scorers/scorer.h"

namespace drm::binding {

template <>
struct HandleType<Scorer> {
  static constexpr const char* name = "scorer";
  static constexpr napi_type_tag tag = {0x81d7f3b06ae24c59, 0x3be0947d52fa1c86};
};

}  // namespace drm::binding
