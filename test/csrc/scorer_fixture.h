// The golden scorers' fixture (test/golden/scorers, or where DRM_GOLDEN says), for tests that look inside a scorer.
#pragma once
#include <ATen/ATen.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "check.h"
#include "tensor_io/json.h"
#include "tensor_io/safetensors.h"

namespace drm::test {

inline std::string golden_scorers(const std::string& file) {
  const char* root = std::getenv("DRM_GOLDEN");
  return std::string(root && *root ? root : DRM_GOLDEN) + "/scorers/" + file;
}

/// A configuration that comes with the program.
inline std::string shipped_config(const std::string& name) {
  return std::string(DRM_TEST_DATA) + "/../../../configs/scorers/" + name + ".json";
}

/// One case: what it states, and its tensors.
class GoldenScorer {
 public:
  explicit GoldenScorer(const std::string& name) : name_(name) {}

  int64_t size(const char* key) const { return stated("config").find(key)->as_int(); }
  double number(const char* key) const { return stated("config").find(key)->as_double(); }
  const Json& list(const char* key) const { return *stated("config").find(key); }
  double tolerance(const char* kind) const { return stated("tolerance").find(kind)->as_double(); }
  double rtol() const { return json_->find("rtol")->as_double(); }
  at::Tensor operator[](const std::string& tensor) const { return io_->load(name_ + "/" + tensor); }

  /// |got - want| <= tolerance + rtol |want|.
  bool near(const at::Tensor& got, const std::string& tensor, double tolerance) const {
    const auto want = (*this)[tensor];
    CHECK(got.sizes() == want.sizes());
    return ((got - want).abs() - tolerance - rtol() * want.abs()).max().item<double>() <= 0;
  }

 private:
  const Json& stated(const char* what) const { return *json_->find("cases")->find(name_)->find(what); }

  std::string name_;
  std::shared_ptr<Json> json_ = std::make_shared<Json>(Json::read(golden_scorers("config.json")));
  std::shared_ptr<const SafetensorsFile> io_ = SafetensorsFile::open(golden_scorers("io.safetensors"));
};

/// A copy of the file in which one number of a tensor is NaN.
inline void save_damaged(const std::string& from, const std::string& to, const std::string& damaged) {
  const auto file = SafetensorsFile::open(from);
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, info] : file->tensors()) {
    auto tensor = file->load(name);
    if (name == damaged) tensor.view(-1)[0] = std::nan("");
    tensors.emplace_back(name, tensor);
  }
  save_safetensors(to, tensors);
}

}  // namespace drm::test
