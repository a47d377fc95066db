// Where the tests that can take a device compute: DRM_TEST_DEVICE, such as `cuda`, else the CPU.
#pragma once
#include <ATen/ATen.h>

#include <cstdlib>
#include <string>

#include "runtime/device.h"

namespace drm::test {

inline std::string device_name() {
  const char* name = std::getenv("DRM_TEST_DEVICE");
  return name && *name ? name : "cpu";
}

/// The device; on a GPU products and convolutions of fp32 are then of fp32, as on a CPU.
inline at::Device device() {
  static const at::Device device = [] {
    const auto found = parse_device(device_name());
    at::globalContext().setAllowTF32CuDNN(false);
    return found;
  }();
  return device;
}

/// The CPU's numbers, wherever they are used.
inline at::Tensor randn(at::IntArrayRef shape) { return at::randn(shape).to(device()); }
inline at::Tensor rand(at::IntArrayRef shape) { return at::rand(shape).to(device()); }

}  // namespace drm::test
