#pragma once
#include "handle.h"
#include "parallel/process_group.h"

namespace drm::binding {

template <>
struct HandleType<ProcessGroup> {
  static constexpr const char* name = "process group";
  static constexpr napi_type_tag tag = {0x7d1e65b8f20c4a93, 0x91b34d07ce5a2f68};
};

}  // namespace drm::binding
