#include "nn/autocast.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

namespace drm {

Autocast::State Autocast::current(at::DeviceType device) {
  State s{device, at::autocast::is_autocast_enabled(device), at::kBFloat16};
  if (s.enabled) s.dtype = at::autocast::get_autocast_dtype(device);
  return s;
}

Autocast::Autocast(State wanted) : before_(current(wanted.device)) {
  at::autocast::increment_nesting();
  at::autocast::set_autocast_enabled(wanted.device, wanted.enabled);
  if (wanted.enabled) at::autocast::set_autocast_dtype(wanted.device, wanted.dtype);
}

Autocast::~Autocast() {
  // The cache of cast weights goes with the outermost scope: a step later they are other weights.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(before_.device, before_.enabled);
  if (before_.enabled) at::autocast::set_autocast_dtype(before_.device, before_.dtype);
}

}  // namespace drm
