// Whether a process group of Gloo compiles and links with this libtorch; see csrc/CMakeLists.txt.
#define USE_C10D_GLOO 1
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

int main(int argc, char**) {
  if (argc > 0) return 0;
  auto options = c10d::ProcessGroupGloo::Options::create_default();
  auto store = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", c10d::TCPStoreOptions{});
  return c10::make_intrusive<c10d::ProcessGroupGloo>(store, 0, 1, options)->getRank();
}
