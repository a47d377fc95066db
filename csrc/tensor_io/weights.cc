#include "tensor_io/weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "common/failure.h"
#include "tensor_io/json.h"
#include "tensor_io/spellings.h"

namespace drm {
namespace {

using File = std::shared_ptr<const SafetensorsFile>;
using Form = Source::Form;

struct Located {
  File file;
  TensorInfo info;
};
using Keys = std::map<std::string, Located>;

constexpr const char* kIndexEnding = ".index.json";

void add_all(Keys& keys, const File& file) {
  for (const auto& [name, info] : file->tensors())
    if (!keys.emplace(name, Located{file, info}).second)
      throw Failure(
          Code::BadFile,
          "[load] " + name + ": expected in one file, found in " + keys.at(name).file->path() + " and " + file->path(),
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
    if (!name.is_string()) bad("weight_map: expected the name of a file for " + key);
    const auto& file = name.as_string();
    // A shard is a plain name: an index must not reach into other folders.
    if (file.empty() || file.find('/') != std::string::npos || file.find('\\') != std::string::npos ||
        file.find("..") != std::string::npos)
      bad("weight_map: expected a plain file name for " + key + ", found " + file.substr(0, 100));
    auto& shard = shards[file];
    if (!shard) shard = SafetensorsFile::open(folder + file);
    const auto it = shard->tensors().find(key);
    if (it == shard->tensors().end()) bad("says that " + key + " is in " + file + ", which does not hold it");
    keys.emplace(key, Located{shard, it->second});
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

bool any_starts(const std::vector<std::string>& names, const std::string& prefix) {
  const auto it = std::lower_bound(names.begin(), names.end(), prefix);  // names are sorted
  return it != names.end() && it->rfind(prefix, 0) == 0;
}

struct Reading {
  std::string spelling;
  std::vector<Translated> tensors;
};

/// Keys below `prefix` as they are, without it.
Reading plain(const std::vector<std::string>& names, const std::string& prefix, const char* spelling) {
  Reading r{spelling, {}};
  for (const auto& name : names)
    if (name.rfind(prefix, 0) == 0) r.tensors.push_back({name.substr(prefix.size()), {name}});
  return r;
}

/// In a single file other components' keys are passed over; a key below our own prefix that no rule knows is kept under
/// its own name, so that it is reported as unexpected.
template <class Translate>
Reading translated(const std::vector<std::string>& names, const std::string& prefix, const char* spelling,
                   Translate translate) {
  Reading r{spelling, {}};
  for (const auto& name : names) {
    if (name.rfind(prefix, 0) != 0) continue;
    auto parts = translate(name);
    if (parts.empty()) parts.push_back({name, {name}});
    r.tensors.insert(r.tensors.end(), parts.begin(), parts.end());
  }
  return r;
}

/// Attention of the VAE as older diffusers wrote it.
void modernise_vae_attention(Reading& r) {
  for (auto& t : r.tensors)
    for (const auto& [old, ours] : {std::pair(".query.", ".to_q."), std::pair(".key.", ".to_k."),
                                    std::pair(".value.", ".to_v."), std::pair(".proj_attn.", ".to_out.0.")}) {
      const auto at = t.key.find(old);
      if (t.key.find(".attentions.") != std::string::npos && at != std::string::npos)
        t.key.replace(at, std::string(old).size(), ours);
    }
}

Reading read_spelling(const std::vector<std::string>& names, Component component, const std::string& which) {
  switch (component) {
    case Component::Transformer:
      for (const std::string prefix : {"model.diffusion_model.", ""})
        if (any_starts(names, prefix + "joint_blocks.")) {
          const auto last = count_sd3_blocks(names, prefix) - 1;
          return translated(names, prefix, "sd3",
                            [&](const std::string& name) { return translate_sd3(name, prefix, last); });
        }
      return plain(names, any_starts(names, "transformer.transformer_blocks.") ? "transformer." : "", "diffusers");
    case Component::RewardHead:
      return plain(names, "reward_output.", "diffusers");
    case Component::Vae: {
      for (const std::string prefix : {"first_stage_model.", "vae.", ""})
        if (any_starts(names, prefix + "decoder.up.")) {
          const auto levels = count_ldm_levels(names, prefix);
          return translated(names, prefix, "ldm",
                            [&](const std::string& name) { return translate_ldm_vae(name, prefix, levels); });
        }
      auto r = plain(names, "", "diffusers");
      modernise_vae_attention(r);
      return r;
    }
    case Component::Clip:
    case Component::T5: {
      const std::string prefix = "text_encoders." + which + ".transformer.";
      if (!which.empty() && any_starts(names, prefix)) return plain(names, prefix, "single file");
      if (component == Component::Clip && any_starts(names, "transformer.resblocks."))
        return translated(names, "", "OpenAI", translate_open_clip);
      return plain(names, "", "transformers");
    }
  }
  return {};
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string s = "(";
  for (size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + ")";
}

struct Listing {
  std::string head, all;  // the first few for the message, all for details
  size_t count = 0;
  void add(const std::string& line) {
    constexpr size_t kShown = 8;
    if (count < kShown) head += "\n    " + line;
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

Weights Weights::open(const std::vector<std::string>& files, Component component, const std::string& which) {
  const auto keys = gather(files);
  std::vector<std::string> names;
  for (const auto& [name, located] : keys) names.push_back(name);
  const auto reading = read_spelling(names, component, which);
  Weights w;
  w.spelling_ = reading.spelling;
  w.description_ = files.size() == 1 ? files[0] : files[0] + " and " + std::to_string(files.size() - 1) + " more";
  for (const auto& [key, source] : reading.tensors) {
    const auto& located = keys.at(source.key);
    auto info = located.info;
    info.shape = shape_of(info, source.form);
    if (source.form == Form::Third && (located.info.shape.empty() || located.info.shape[0] % 3))
      throw Failure(Code::BadFile,
                    "[load] " + source.key + " in " + located.file->path() +
                        ": expected query, key and value stacked, found shape " + shape_text(located.info.shape),
                    {{"file", located.file->path()}, {"key", source.key}});
    if (source.form == Form::SwappedHalves && (located.info.shape.empty() || located.info.shape[0] % 2))
      throw Failure(Code::BadFile,
                    "[load] " + source.key + " in " + located.file->path() +
                        ": expected shift and scale stacked, found shape " + shape_text(located.info.shape),
                    {{"file", located.file->path()}, {"key", source.key}});
    w.entries_[key] = {info, [file = located.file, source = source](at::ScalarType dtype, at::Device device) {
                         return take(file->load(source.key, dtype, device), source);
                       }};
  }
  return w;
}

void Weights::check(const std::vector<WantedTensor>& wanted, const std::function<bool(const std::string&)>& ignorable,
                    const std::string& hint) const {
  Listing missing, unexpected, misshaped;
  std::set<std::string> known;
  for (const auto& w : wanted) {
    known.insert(w.key);
    const auto it = entries_.find(w.key);
    if (it == entries_.end())
      missing.add(w.key);
    else if (it->second.info.shape != w.shape)
      misshaped.add(w.key + ": expected " + shape_text(w.shape) + ", found " + shape_text(it->second.info.shape));
  }
  for (const auto& [key, entry] : entries_)
    if (!known.count(key) && !(ignorable && ignorable(key))) unexpected.add(key);
  if (missing.count || unexpected.count || misshaped.count)
    throw Failure(Code::KeysMismatch,
                  "[load] " + description_ + " (" + spelling_ + " names): expected " + std::to_string(wanted.size()) +
                      " tensors of this config, found a different set" + misshaped.text("of another shape") +
                      missing.text("missing") + unexpected.text("unexpected") + "\n  " +
                      (hint.empty() ? "do config and weights belong to the same model?" : hint),
                  {{"file", description_},
                   {"missing", missing.all},
                   {"unexpected", unexpected.all},
                   {"misshaped", misshaped.all}});
}

void Weights::fill(const std::vector<WantedTensor>& wanted, at::ScalarType dtype, at::Device device,
                   const std::function<bool(const std::string&)>& ignorable, const std::string& hint,
                   const std::function<void(uint64_t, uint64_t)>& progress) const {
  check(wanted, ignorable, hint);
  uint64_t done = 0;
  const auto total = bytes_of(wanted, dtype);
  for (const auto& w : wanted) {
    *w.target = entries_.at(w.key).load(w.dtype.value_or(dtype), device);
    done += w.target->nbytes();
    if (progress) progress(done, total);
  }
}

}  // namespace drm
