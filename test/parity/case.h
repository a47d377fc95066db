// A golden case on disk, and the comparison of what was recomputed with what it stores.
//
// Two forms: case.json (one entry a tensor, with its role and tolerance) and, for reward models and RL, config.json
// with tolerances by name; inputs and expected tensors are in io.safetensors in both.
#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tensor_io/json.h"
#include "tensor_io/safetensors.h"

namespace drm::parity {

using Outputs = std::map<std::string, at::Tensor>;

/// Where cases are recomputed; stored values are compared on the CPU.
inline at::Device device = at::kCPU;

struct Case {
  std::string folder;
  Json doc;
  std::shared_ptr<const SafetensorsFile> io;

  explicit Case(const std::string& dir);
  at::Tensor stored(const std::string& name) const;
  /// The same on the device.
  at::Tensor in(const std::string& name) const { return stored(name).to(device); }
  bool has(const std::string& name) const { return io && io->tensors().count(name); }
  /// Of case.json's facts. Throws Failure(BadFile).
  const Json& fact(const char* name) const;
  /// A value of the document by path, such as {"optimizer", "lr"}. Throws Failure(BadFile).
  const Json& at(std::initializer_list<const char*> path) const;
  /// case.json: name to what is known of the tensor.
  const std::vector<std::pair<std::string, Json>>& tensors() const { return doc.find("tensors")->members(); }
  /// r0, r1, ...: the runs that the stored tensors name.
  std::set<std::string> runs() const;
};

/// Prints the comparison of every tensor that the case stores as an output, one JSON object a line.
void compare(const Case& expected, const Outputs& got, const std::string& only_prefix = "");

void put(Outputs& out, const std::string& prefix, const Outputs& values);

/// Reward models (reward_cases.cc): whether `kind` is one of them, and then its outputs.
bool check_reward_case(const std::string& kind, const Case& c, Outputs& out);
/// The same for the SDE step and branching (sampling_cases.cc).
bool check_sampling_case(const std::string& kind, const Case& c, Outputs& out);
/// The same for policy training (policy_cases.cc).
bool check_policy_case(const std::string& kind, const Case& c, Outputs& out);

}  // namespace drm::parity
