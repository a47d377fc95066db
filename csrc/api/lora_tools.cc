#include "api/lora_tools.h"

#include <ATen/ATen.h>

#include <cmath>
#include <map>

#include "common/stopwatch.h"
#include "lora/applied_loras.h"
#include "models/registry.h"
#include "runtime/device.h"
#include "tensor_io/safetensors.h"

namespace drm {
namespace {

const char* name_of(at::ScalarType dtype) {
  return dtype == at::kFloat      ? "fp32"
         : dtype == at::kBFloat16 ? "bf16"
         : dtype == at::kHalf     ? "fp16"
                                  : c10::toString(dtype);
}

struct AdaptedBy {
  const LoraFile::Entry* entry;
  double strength;
};

double frobenius(const at::Tensor& t) { return t.norm().item<double>(); }

}  // namespace

LoraInspection inspect_lora(const std::string& path, const ComponentFiles& transformer) {
  const auto file = read_lora(path);
  LoraInspection all{file.path, file.spelling, file.tensors, file.alpha_stated, file.unmatched_keys, {}, {}};
  for (const auto& [name, e] : file.layers) {
    const auto a = e.a.to(at::kDouble), b = e.b.to(at::kDouble);
    const auto rank = a.size(0);
    // |B A|^2 = <B^T B, A A^T>: small matrices instead of one of the layer's own size.
    const auto squared = (at::matmul(b.t(), b) * at::matmul(a, a.t())).sum().item<double>();
    all.layers.push_back({name, name_of(e.a.scalar_type()), rank, a.size(1), b.size(0), e.alpha, frobenius(a),
                          frobenius(b), std::abs(e.alpha) / static_cast<double>(rank) * std::sqrt(squared)});
  }
  if (transformer.present()) {
    const auto planned = velocity_config_of(transformer).plan(0);
    const auto match = match_lora(linear_layers(*planned), file);
    all.match = {match.tensors, match.matched, match.unmatched};
  }
  return all;
}

void convert_lora(const std::string& file, const std::string& to, const std::string& out) {
  static const std::map<std::string, LoraSpelling> spellings = {
      {"diffusers", LoraSpelling::Diffusers}, {"peft", LoraSpelling::Peft}, {"kohya", LoraSpelling::Kohya}};
  const auto it = spellings.find(to);
  if (it == spellings.end())
    throw Failure(Code::BadRequest, "[lora] expected diffusers, peft or kohya to convert to, found " + to);
  write_lora(out, read_lora(file), it->second);
}

std::vector<LoraInfo> merge_loras(const LoraMerge& request, Control& control) {
  const auto weights = Weights::open(request.transformer.weights, velocity_keys);
  const auto planned = velocity_config_of(request.transformer.config, weights).plan(0);
  weights.check(wanted(*planned));
  const auto files = read_loras(*planned, request.loras);
  std::map<std::string, std::vector<AdaptedBy>> adapters;  // by the weight's name
  for (size_t i = 0; i < files.size(); ++i)
    for (const auto& [name, e] : files[i].layers) adapters[name + ".weight"].push_back({&e, request.loras[i].strength});
  std::vector<std::pair<std::string, at::Tensor>> merged;
  const auto total = static_cast<int64_t>(weights.entries().size());
  const Stopwatch clock;
  for (const auto& [key, entry] : weights.entries()) {
    control.check();
    if (!at::isFloatingType(entry.info.dtype)) continue;  // none of the model's weights
    control.report({"merge", static_cast<int64_t>(merged.size()), total, clock.seconds()});
    const auto dtype = request.dtype.empty() ? entry.info.dtype : parse_dtype(request.dtype);
    const auto it = adapters.find(key);
    if (it == adapters.end()) {
      merged.emplace_back(key, entry.load(dtype, at::kCPU));
      continue;
    }
    Linear layer{entry.load(at::kFloat, at::kCPU), {}, {}};
    for (const auto& [e, strength] : it->second) layer.lora.push_back(adapter_of(*e, strength, at::kCPU));
    merge_lora({{key, &layer}});
    merged.emplace_back(key, layer.weight.to(dtype));
  }
  save_safetensors(request.out, merged, {{"format", "pt"}});
  control.report({"merge", total, total, clock.seconds()});
  return describe(files, request.loras);
}

}  // namespace drm
