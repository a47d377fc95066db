// Linked instead of c10d_group.cc by a build whose libtorch has no c10d that compiles here.
#include "parallel/process_group.h"

namespace drm {

std::shared_ptr<ProcessGroup> ProcessGroup::join(const GroupPlace&, Control&) {
  throw Failure(
      Code::Device,
      "[parallel] this build of drm trains with one process only: its libtorch has no Gloo that compiles here; "
      "install a libtorch of 2.11 to 2.13 with c10d (any PyTorch wheel) and run `npm run setup`");
}

ParallelInfo parallel_info() { return {}; }

}  // namespace drm
