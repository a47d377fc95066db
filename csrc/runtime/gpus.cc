#include "runtime/gpus.h"

#include <dlfcn.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>

namespace drm {
namespace {

/// A library of the driver, kept open: unloading a driver library under a running CUDA is not safe.
class Library {
 public:
  explicit Library(const char* name) : handle_(dlopen(name, RTLD_LAZY | RTLD_LOCAL)) {}
  explicit operator bool() const { return handle_ != nullptr; }
  template <class Function>
  Function* find(const char* name) const {
    return handle_ ? reinterpret_cast<Function*>(dlsym(handle_, name)) : nullptr;
  }

 private:
  void* handle_;
};

// The few entries used here, as declared by cuda.h and nvml.h; both keep old entries for ever.
using CuResult = int;
using CuDevice = int;
using Uuid = std::array<unsigned char, 16>;
constexpr int kComputeCapabilityMajor = 75, kComputeCapabilityMinor = 76;  // CU_DEVICE_ATTRIBUTE_...

struct NvmlMemory {
  unsigned long long total, free, used;
};

class FreeMemory {
 public:
  FreeMemory() : library_("libnvidia-ml.so.1") {
    const auto init = library_.find<int()>("nvmlInit_v2");
    by_uuid_ = library_.find<int(const char*, void**)>("nvmlDeviceGetHandleByUUID");
    memory_ = library_.find<int(void*, NvmlMemory*)>("nvmlDeviceGetMemoryInfo");
    ready_ = init && by_uuid_ && memory_ && init() == 0;
  }

  /// By UUID, since NVML numbers devices by bus position and knows nothing of CUDA_VISIBLE_DEVICES.
  std::optional<int64_t> of(const Uuid& uuid) const {
    if (!ready_) return std::nullopt;
    char digits[40];
    std::snprintf(digits, sizeof digits, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                  uuid[0], uuid[1], uuid[2], uuid[3], uuid[4], uuid[5], uuid[6], uuid[7], uuid[8], uuid[9], uuid[10],
                  uuid[11], uuid[12], uuid[13], uuid[14], uuid[15]);
    for (const char* kind : {"GPU-", "MIG-"}) {
      void* device = nullptr;
      NvmlMemory memory{};
      if (by_uuid_((kind + std::string(digits)).c_str(), &device) == 0 && memory_(device, &memory) == 0)
        return static_cast<int64_t>(memory.free);
    }
    return std::nullopt;
  }

 private:
  Library library_;
  int (*by_uuid_)(const char*, void**) = nullptr;
  int (*memory_)(void*, NvmlMemory*) = nullptr;
  bool ready_ = false;
};

}  // namespace

GpuList list_gpus() {
  const Library driver("libcuda.so.1");
  if (!driver) return {{}, "no NVIDIA driver (libcuda.so.1 is not installed)"};
  const auto init = driver.find<CuResult(unsigned)>("cuInit");
  const auto count_devices = driver.find<CuResult(int*)>("cuDeviceGetCount");
  const auto get_device = driver.find<CuResult(CuDevice*, int)>("cuDeviceGet");
  const auto get_name = driver.find<CuResult(char*, int, CuDevice)>("cuDeviceGetName");
  const auto get_attribute = driver.find<CuResult(int*, int, CuDevice)>("cuDeviceGetAttribute");
  const auto get_total = driver.find<CuResult(size_t*, CuDevice)>("cuDeviceTotalMem_v2");
  const auto get_uuid = driver.find<CuResult(Uuid*, CuDevice)>("cuDeviceGetUuid");
  const auto get_version = driver.find<CuResult(int*)>("cuDriverGetVersion");
  const auto explain = driver.find<CuResult(CuResult, const char**)>("cuGetErrorString");
  if (!init || !count_devices || !get_device || !get_name || !get_attribute || !get_total)
    return {{}, "the NVIDIA driver lacks entries of CUDA 4 or newer"};

  const auto failure = [&](const char* call, CuResult result) {
    const char* text = nullptr;
    if (explain) explain(result, &text);
    return std::string(call) + ": " + (text ? text : "error " + std::to_string(result));
  };
  int count = 0;
  if (const auto result = init(0)) return {{}, failure("cuInit", result)};
  if (const auto result = count_devices(&count)) return {{}, failure("cuDeviceGetCount", result)};
  if (count == 0) return {{}, "the driver shows no GPU (is CUDA_VISIBLE_DEVICES set?)"};

  GpuList list;
  if (get_version) get_version(&list.cuda_version);
  const FreeMemory free_memory;
  for (int i = 0; i < count; ++i) {
    CuDevice device = 0;
    if (get_device(&device, i) != 0) continue;
    RuntimeInfo::Gpu gpu;
    char name[256] = "";
    if (get_name(name, sizeof name, device) == 0) gpu.name = name;
    int major = 0, minor = 0;
    if (get_attribute(&major, kComputeCapabilityMajor, device) == 0 &&
        get_attribute(&minor, kComputeCapabilityMinor, device) == 0)
      gpu.capability = std::to_string(major) + "." + std::to_string(minor);
    size_t total = 0;
    if (get_total(&total, device) == 0) gpu.total_bytes = static_cast<int64_t>(total);
    Uuid uuid{};
    if (get_uuid && get_uuid(&uuid, device) == 0) gpu.free_bytes = free_memory.of(uuid).value_or(0);
    list.gpus.push_back(std::move(gpu));
  }
  return list;
}

}  // namespace drm
