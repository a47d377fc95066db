// A test program is a list of TEST(name) { ... CHECK(...) } and one DRM_TEST_MAIN; CTest runs it. Kept this small
// because no C++ test framework comes with the packages that a build here may use.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "common/failure.h"

namespace drm::test {

struct Case {
  const char* name;
  std::function<void()> run;
};
inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
struct Register {
  Register(const char* name, std::function<void()> run) { cases().push_back({name, std::move(run)}); }
};
struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] inline void fail(const char* file, int line, const std::string& what) {
  std::ostringstream s;
  s << file << ":" << line << ": " << what;
  throw Broken(s.str());
}

inline int run_all(int argc, char** argv) {
  int passed = 0, failed = 0;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what was said before a crash is then not lost
  const bool verbose = std::getenv("DRM_TEST_VERBOSE") != nullptr;
  const std::string only = argc > 1 ? argv[1] : "";
  for (auto& c : cases()) {
    if (!only.empty() && std::string(c.name).find(only) == std::string::npos) continue;
    if (verbose) std::printf("%s\n", c.name);
    try {
      c.run();
      ++passed;
    } catch (const std::exception& e) {
      ++failed;
      std::fprintf(stderr, "FAIL %s: %s\n", c.name, e.what());
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed || !passed;
}

/// Runs `work`, expects a Failure of that code whose message contains every given part; returns the message.
inline std::string expect_failure(const char* file, int line, Code code, const std::vector<std::string>& parts,
                                  const std::function<void()>& work) {
  try {
    work();
  } catch (const Failure& f) {
    if (f.code != code)
      fail(file, line, std::string("expected ") + code_name(code) + ", got " + code_name(f.code) + ": " + f.what());
    for (auto& p : parts)
      if (std::string(f.what()).find(p) == std::string::npos)
        fail(file, line, "message lacks '" + p + "': " + f.what());
    return f.what();
  }
  fail(file, line, std::string("expected a Failure ") + code_name(code) + ", nothing was thrown");
}

}  // namespace drm::test

#define TEST(name)                                                  \
  static void test_##name();                                        \
  static ::drm::test::Register register_##name(#name, test_##name); \
  static void test_##name()
// libtorch's logging header, which the precompiled header brings in first, has glog's macros of these names.
#undef CHECK
#undef CHECK_EQ
#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) ::drm::test::fail(__FILE__, __LINE__, "not true: " #condition); \
  } while (0)
#define CHECK_EQ(a, b)                                \
  do {                                                \
    auto va = (a);                                    \
    auto vb = (b);                                    \
    if (!(va == vb)) {                                \
      std::ostringstream s;                           \
      s << #a " is " << va << ", expected " << vb;    \
      ::drm::test::fail(__FILE__, __LINE__, s.str()); \
    }                                                 \
  } while (0)
#define EXPECT_FAILURE(code, parts, work) \
  ::drm::test::expect_failure(__FILE__, __LINE__, ::drm::Code::code, std::vector<std::string> parts, [&] { work; })
#define DRM_TEST_MAIN \
  int main(int argc, char** argv) { return ::drm::test::run_all(argc, argv); }
