// Where a component's tensors come from: one file, several, or an index of shards, under whichever naming. Models ask
// for tensors by their diffusers (transformers for text encoders) keys; a KeyReader translates other spellings.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tensor_io/key_names.h"
#include "tensor_io/safetensors.h"

namespace drm {

/// A tensor that a model wants.
struct WantedTensor {
  std::string key;  // diffusers name
  std::vector<int64_t> shape;
  at::Tensor* target;                        // assigned by fill()
  std::optional<at::ScalarType> dtype = {};  // of this one alone, where it is another than the model's
  std::optional<at::Device> device = {};     // likewise
  /// On the CPU it may stay in the file, as a view of its pages that must not be written to, in the file's dtype: where
  /// that is the one asked for, or of 16 bits when fp32 is asked for.
  bool in_place = false;
};
/// That fill() takes for them.
uint64_t bytes_of(const std::vector<WantedTensor>& wanted, at::ScalarType dtype);

struct LocatedTensor {
  std::shared_ptr<const SafetensorsFile> file;
  const TensorInfo* info;  // the file's
};

class Weights {
 public:
  /// `files`: one .safetensors file, several, or one *.safetensors.index.json (its shards lie beside it).
  /// `read` knows the model's spellings.
  /// Weights in FP8 are taken times the scales beside them (`scale_weight` or `weight_scale`), whatever the spelling.
  /// Throws Failure(BadFile), or as MappedFile::open().
  static Weights open(const std::vector<std::string>& files, const KeyReader& read);
  /// The same of one open file.
  static Weights open(const std::shared_ptr<const SafetensorsFile>& file, const KeyReader& read);

  /// Logical tensors by diffusers key with shape and dtype, after translation (qkv split, scale/shift halves swapped,
  /// 1x1 convolutions squeezed): nothing is read for this.
  struct Entry {
    TensorInfo info;  // logical shape; byte range meaningless
    std::function<at::Tensor(at::ScalarType, at::Device)> load;
    std::function<at::Tensor()> view;  // of the file's own bytes; none where ours is made of them
  };
  const std::map<std::string, Entry>& entries() const { return entries_; }
  bool has(const std::string& key) const { return entries_.contains(key); }
  const std::string& spelling() const { return spelling_; }        // "diffusers", "sd3", "ldm", ...
  const std::string& description() const { return description_; }  // the file(s), for messages

  /// Checks all names, shapes and dtypes, and reports every missing, unexpected and mis-shaped key in one
  /// Failure(KeysMismatch) (full lists in details "missing", "unexpected", "misshaped", one a line), wanted tensors
  /// that are no floating-point numbers in a Failure(BadFile) ("mistyped"). `ignorable` says which extra keys are
  /// harmless; those that are no floating-point numbers are. `hint` is appended to the message (what the shapes look
  /// like).
  void check(const std::vector<WantedTensor>& wanted, const std::function<bool(const std::string&)>& ignorable = {},
             const std::string& hint = "") const;
  /// Checks, then loads.
  void fill(const std::vector<WantedTensor>& wanted, at::ScalarType dtype, at::Device device,
            const std::function<bool(const std::string&)>& ignorable = {}, const std::string& hint = "",
            const std::function<void(uint64_t done_bytes, uint64_t total_bytes)>& progress = {}) const;

 private:
  static Weights arrange(std::map<std::string, LocatedTensor> keys, const KeyReader& read);
  std::map<std::string, Entry> entries_;
  std::string spelling_, description_;
};

}  // namespace drm
