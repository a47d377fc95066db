#include "tensor_io/weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "common/failure.h"
#include "common/messages.h"
#include "tensor_io/json.h"
#include "tensor_io/tensor_names.h"

namespace drm {
namespace {

using File = std::shared_ptr<const SafetensorsFile>;
using Form = Source::Form;

using Keys = std::map<std::string, LocatedTensor>;

constexpr const char* kIndexEnding = ".index.json";

void add_all(Keys& keys, const File& file) {
  for (const auto& [name, info] : file->tensors())
    if (!keys.emplace(name, LocatedTensor{file, &info}).second)
      throw Failure(Code::BadFile,
                    "[load] " + shown(name) + ": expected in one file, found in " + keys.at(name).file->path() +
                        " and " + file->path(),
                    {{"file", file->path()}, {"key", name}});
}

/// The shards that an index names, which lie beside it.
void add_index(Keys& keys, const std::string& index) {
  const auto json = Json::read(index);
  const auto* map = json.find("weight_map");
  const auto bad = [&](const std::string& what) {
    throw Failure(Code::BadFile, "[load] " + index + ": " + what + "; fetch the index again", {{"file", index}});
  };
  if (!map || !map->is_object() || map->members().empty()) bad("expected a weight_map from tensor to file");
  const auto slash = index.rfind('/');
  const auto folder = slash == std::string::npos ? std::string() : index.substr(0, slash + 1);
  std::map<std::string, File> shards;
  for (const auto& [key, name] : map->members()) {
    if (!name.is_string()) bad("weight_map: expected the name of a file for " + shown(key));
    const auto& file = name.as_string();
    // A shard is a plain name: an index must not reach into other folders.
    if (file.empty() || file.find('/') != std::string::npos || file.find('\\') != std::string::npos ||
        file.find("..") != std::string::npos)
      bad("weight_map: expected a plain file name for " + shown(key) + ", found " + file.substr(0, 100));
    auto& shard = shards[file];
    if (!shard) shard = SafetensorsFile::open(folder + file);
    const auto it = shard->tensors().find(key);
    if (it == shard->tensors().end()) bad("says that " + shown(key) + " is in " + file + ", which does not hold it");
    keys.emplace(key, LocatedTensor{shard, &it->second});
  }
}

Keys gather(const std::vector<std::string>& files) {
  if (files.empty()) throw Failure(Code::Internal, "[load] no weight files were named");
  Keys keys;
  for (const auto& file : files) {
    if (file.ends_with(kIndexEnding))
      add_index(keys, file);
    else
      add_all(keys, SafetensorsFile::open(file));
  }
  return keys;
}

struct Scale {
  std::string key;  // in the file
  LocatedTensor at;
};

/// Weights of eight bits are mostly passed around with scales beside them, under one of two names: the weight is the
/// stored one times its scale, one for all or one for each of its rows. Those of a layer's inputs, and what marks a
/// file as scaled, are for computing in eight bits, which is not done here. By the weight's key; all are taken out of
/// `keys`.
std::map<std::string, Scale> take_scales(Keys& keys) {
  std::map<std::string, Scale> scales;
  for (auto it = keys.begin(); it != keys.end();) {
    const auto& [key, located] = *it;
    const auto layer = key.substr(0, key.rfind('.') + 1), last = key.substr(layer.size());
    const bool scale = last == "scale_weight" || last == "weight_scale";
    if (!scale && last != "scale_input" && last != "input_scale" && last != "scaled_fp8" && last != "comfy_quant") {
      ++it;
      continue;
    }
    const auto expect = [&, &name = key, &at = located](bool holds, const std::string& what) {
      if (!holds)
        throw Failure(Code::BadFile, "[load] " + shown(name) + " in " + at.file->path() + ": expected " + what,
                      {{"file", at.file->path()}, {"key", name}});
    };
    if (scale) {
      const auto& info = *located.info;
      expect(at::isFloatingType(info.dtype), "floating-point numbers, found " + info.dtype_name());
      const auto weight = keys.find(layer + "weight");
      expect(weight != keys.end(), "the weight that this scales, " + shown(layer + "weight") + ", found none");
      const auto& shape = weight->second.info->shape;
      int64_t numbers = 1;
      for (const auto side : info.shape) numbers *= side;
      expect(numbers == 1 || (!shape.empty() && numbers == shape[0] && info.shape[0] == numbers),
             "one number for the whole weight or for each of its rows, found shape " + shape_text(info.shape) +
                 " for a weight of " + shape_text(shape) + "; weights scaled in blocks are not read here");
      expect(scales.emplace(layer + "weight", Scale{key, located}).second, "one scale for a weight, found two");
    }
    it = keys.erase(it);
  }
  return scales;
}

/// The stored weight times its scale, multiplied in fp32 and rounded once.
at::Tensor load_scaled(const File& file, const std::string& key, const Scale& scale, at::ScalarType dtype,
                       at::Device device) {
  auto weight = file->load(key, at::kFloat, device);
  const auto factors = scale.at.file->load(scale.key, at::kFloat, at::kCPU).reshape({-1});
  if (!factors.isfinite().all().item<bool>())
    throw Failure(Code::BadFile,
                  "[load] " + shown(scale.key) + " in " + scale.at.file->path() +
                      ": expected a finite scale, found NaN or infinity; fetch the file again",
                  {{"file", scale.at.file->path()}, {"key", scale.key}});
  std::vector<int64_t> rows(static_cast<size_t>(weight.dim()), 1);
  if (factors.numel() != 1) rows[0] = factors.numel();
  return weight.mul_(factors.view(rows).to(device)).to(dtype);
}

std::vector<int64_t> shape_of(const TensorInfo& info, Form form) {
  auto shape = info.shape;
  if (form == Form::Third && !shape.empty()) shape[0] /= 3;
  if (form == Form::Squeezed)
    while (shape.size() > 2 && shape.back() == 1) shape.pop_back();
  if (form == Form::Transposed && shape.size() == 2) std::swap(shape[0], shape[1]);
  return shape;
}

at::Tensor take(const at::Tensor& t, const Source& source) {
  switch (source.form) {
    case Form::Whole:
      return t;
    case Form::Third:
      return t.chunk(3, 0)[static_cast<size_t>(source.part)].clone();
    case Form::SwappedHalves: {
      const auto halves = t.chunk(2, 0);
      return at::cat({halves[1], halves[0]}, 0);
    }
    case Form::Squeezed:
      return t.reshape(shape_of({t.scalar_type(), t.sizes().vec()}, Form::Squeezed));
    case Form::Transposed:
      return t.dim() == 2 ? t.t().contiguous() : t;
  }
  return t;
}

struct Listing {
  std::string head, all;  // the first few for the message, all for details
  size_t count = 0;
  void add(const std::string& line) {
    constexpr size_t kShown = 8;
    if (count < kShown) head += "\n    " + shown(line);
    all += line + "\n";
    ++count;
  }
  std::string text(const char* what) const {
    if (!count) return "";
    return "\n  " + std::to_string(count) + " " + what + ":" + head +
           (count > 8 ? "\n    and " + std::to_string(count - 8) + " more" : "");
  }
};

}  // namespace

uint64_t bytes_of(const std::vector<WantedTensor>& wanted, at::ScalarType dtype) {
  uint64_t total = 0;
  for (const auto& w : wanted) {
    uint64_t bytes = at::elementSize(w.dtype.value_or(dtype));
    for (const auto side : w.shape) bytes *= static_cast<uint64_t>(side);
    total += bytes;
  }
  return total;
}

Weights Weights::open(const std::vector<std::string>& files, const KeyReader& read) {
  auto w = arrange(gather(files), read);
  w.description_ = files.size() == 1 ? files[0] : files[0] + " and " + std::to_string(files.size() - 1) + " more";
  return w;
}

Weights Weights::open(const std::shared_ptr<const SafetensorsFile>& file, const KeyReader& read) {
  std::map<std::string, LocatedTensor> keys;
  add_all(keys, file);
  auto w = arrange(std::move(keys), read);
  w.description_ = file->path();
  return w;
}

Weights Weights::arrange(std::map<std::string, LocatedTensor> keys, const KeyReader& read) {
  const auto scales = take_scales(keys);
  std::vector<std::string> names;
  names.reserve(keys.size());
  for (const auto& [name, located] : keys) names.push_back(name);
  const auto reading = read(names);
  Weights w;
  w.spelling_ = reading.spelling;
  for (const auto& [key, source] : reading.tensors) {
    const auto& located = keys.at(source.key);
    auto info = *located.info;
    const auto expect_stacked = [&](int64_t parts, const char* what) {
      if (info.shape.empty() || info.shape[0] % parts)
        throw Failure(Code::BadFile,
                      "[load] " + shown(source.key) + " in " + located.file->path() + ": expected " + what +
                          " stacked, found shape " + shape_text(info.shape),
                      {{"file", located.file->path()}, {"key", source.key}});
    };
    if (source.form == Form::Third) expect_stacked(3, "query, key and value");
    if (source.form == Form::SwappedHalves) expect_stacked(2, "shift and scale");
    info.shape = shape_of(info, source.form);
    const auto scale = scales.find(source.key);
    if (scale == scales.end()) {
      w.entries_[key] = {info, [file = located.file, source = source](at::ScalarType dtype, at::Device device) {
                           return take(file->load(source.key, dtype, device), source);
                         }};
      if (source.form == Form::Whole)
        w.entries_[key].view = [file = located.file, name = source.key] { return file->view(name); };
    } else {
      if (at::isFloatingType(info.dtype))
        info.dtype = at::kFloat;  // what it is worth; eight bits hold it without scale
      w.entries_[key] = {
          info, [file = located.file, source = source, scale = scale->second](at::ScalarType dtype, at::Device device) {
            return take(load_scaled(file, source.key, scale, dtype, device), source);
          }};
    }
  }
  return w;
}

std::vector<std::string> tensor_names(const std::vector<std::string>& files) {
  std::vector<std::string> names;
  for (const auto& [name, located] : gather(files)) names.push_back(name);
  return names;
}

void Weights::check(const std::vector<WantedTensor>& wanted, const std::function<bool(const std::string&)>& ignorable,
                    const std::string& hint) const {
  Listing missing, unexpected, misshaped, mistyped;
  std::set<std::string> known;
  for (const auto& w : wanted) {
    known.insert(w.key);
    const auto it = entries_.find(w.key);
    if (it == entries_.end())
      missing.add(w.key);
    else if (it->second.info.shape != w.shape)
      misshaped.add(w.key + ": expected " + shape_text(w.shape) + ", found " + shape_text(it->second.info.shape));
    else if (!at::isFloatingType(it->second.info.dtype))
      mistyped.add(w.key + ": expected floating-point numbers, found " + it->second.info.dtype_name());
  }
  // Integers and dtypes of other programs are no weights of these models: ids, counters, tables of quantisations.
  for (const auto& [key, entry] : entries_)
    if (!known.contains(key) && at::isFloatingType(entry.info.dtype) && !(ignorable && ignorable(key)))
      unexpected.add(key);
  if (missing.count || unexpected.count || misshaped.count)
    throw Failure(Code::KeysMismatch,
                  "[load] " + description_ + " (" + spelling_ + " names): expected " + std::to_string(wanted.size()) +
                      " tensors of this config, found a different set" + misshaped.text("of another shape") +
                      mistyped.text("of a dtype that is not supported") + missing.text("missing") +
                      unexpected.text("unexpected") + "\n  " +
                      (hint.empty() ? "do config and weights belong to the same model?" : hint),
                  {{"file", description_},
                   {"missing", missing.all},
                   {"unexpected", unexpected.all},
                   {"misshaped", misshaped.all},
                   {"mistyped", mistyped.all}});
  if (mistyped.count)
    throw Failure(Code::BadFile,
                  "[load] " + description_ + " (" + spelling_ + " names): expected floating-point weights" +
                      mistyped.text("of another dtype") +
                      "\n  quantised weights are not read, but those in FP8: fetch F32, F16, BF16 or FP8 ones",
                  {{"file", description_}, {"mistyped", mistyped.all}});
}

void Weights::fill(const std::vector<WantedTensor>& wanted, at::ScalarType dtype, at::Device device,
                   const std::function<bool(const std::string&)>& ignorable, const std::string& hint,
                   const std::function<void(uint64_t, uint64_t)>& progress) const {
  check(wanted, ignorable, hint);
  auto planned = wanted;
  for (auto& w : planned) {
    const auto& entry = entries_.at(w.key);
    const auto asked = w.dtype.value_or(dtype), found = entry.info.dtype;
    const bool exact = found == asked || (asked == at::kFloat && (found == at::kBFloat16 || found == at::kHalf));
    w.in_place = w.in_place && entry.view && w.device.value_or(device).is_cpu() && exact;
    if (w.in_place) w.dtype = found;
  }
  uint64_t done = 0;
  const auto total = bytes_of(planned, dtype);
  for (const auto& w : planned) {
    const auto& entry = entries_.at(w.key);
    *w.target = w.in_place ? entry.view() : entry.load(w.dtype.value_or(dtype), w.device.value_or(device));
    done += w.target->nbytes();
    if (progress) progress(done, total);
  }
}

}  // namespace drm
