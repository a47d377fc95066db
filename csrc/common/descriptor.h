// A file descriptor of the system's that is closed on every way out.
#pragma once
#include <unistd.h>

namespace drm {

struct Descriptor {
  explicit Descriptor(int opened) : fd(opened) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int fd;  // negative: it could not be opened
};

}  // namespace drm
