#include "case.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "common/failure.h"

namespace drm::parity {
namespace {

using at::Tensor;

/// What is asked of one tensor.
struct Tolerance {
  double atol = 0;               // 0: equality
  bool rms = false;              // of the root mean square instead of the largest error
  std::vector<double> per_step;  // by leading index, instead of atol
  double share = 1;              // of the elements that must be within atol; all within hard_atol
  double hard_atol = 0;
};

void print(const std::string& name, double error, double atol, const char* metric, const std::string& note) {
  char number[40] = "null";  // a NaN or infinite error is no JSON number; the runner fails it
  if (std::isfinite(error)) std::snprintf(number, sizeof number, "%.9g", error);
  std::printf("{\"tensor\":%s,\"error\":%s,\"atol\":%.9g,\"metric\":\"%s\",\"note\":%s}\n", json_text(name).c_str(),
              number, atol, metric, json_text(note).c_str());
}

void print_note(const std::string& name, const std::string& note) {
  std::printf("{\"tensor\":%s,\"note\":%s}\n", json_text(name).c_str(), json_text(note).c_str());
}

/// Elementwise |have - want| in float64; equal infinities and expected NaN that are NaN differ by 0.
Tensor difference(const Tensor& have, const Tensor& want) {
  const auto h = have.to(at::kDouble), w = want.to(at::kDouble);
  const auto same = h.eq(w).logical_or(h.isnan().logical_and(w.isnan()));
  return at::where(same, at::zeros({}, at::kDouble), (h - w).abs());
}

void compare_one(const std::string& name, const Tensor& want, const Outputs& got, const Tolerance& t) {
  const auto it = got.find(name);
  if (it == got.end() || !it->second.defined()) return print_note(name, "not recomputed");
  const auto have = it->second.detach().to(at::kCPU);
  if (have.sizes() != want.sizes()) {
    std::ostringstream s;
    s << "expected shape " << want.sizes() << ", got " << have.sizes();
    return print_note(name, s.str());
  }
  auto d = difference(have, want);
  auto atol = t.atol;
  if (!t.per_step.empty()) {  // the step that is worst for its own tolerance
    const auto by_step = d.reshape({d.size(0), -1}).amax(1);
    int64_t worst = 0;
    for (int64_t i = 0; i < by_step.size(0); ++i) {
      const auto ratio = [&](int64_t j) { return by_step[j].item<double>() / t.per_step.at(static_cast<size_t>(j)); };
      if (!(ratio(i) <= ratio(worst))) worst = i;
    }
    atol = t.per_step.at(static_cast<size_t>(worst));
    std::ostringstream note;
    note << "worst at step " << worst;
    return print(name, by_step[worst].item<double>(), atol, "max", note.str());
  }
  d = d.flatten();
  if (!d.numel()) return print(name, 0, atol, "max", "");
  const auto worst = d.argmax().item<int64_t>();  // argmax puts NaN first, so a NaN is never missed
  std::ostringstream note;
  note << "worst at flat index " << worst << ": expected " << want.flatten()[worst].item<double>() << ", got "
       << have.flatten()[worst].item<double>();
  if (t.share < 1) {
    const auto sorted = std::get<0>(d.sort());
    const auto last = static_cast<int64_t>(std::ceil(t.share * static_cast<double>(d.numel()))) - 1;
    std::ostringstream most;
    most << name << " (share " << t.share << ")";
    print(most.str(), sorted[last].item<double>(), atol, "max", "");
    return print(name, d[worst].item<double>(), t.hard_atol, "max", note.str());
  }
  const auto error = t.rms ? std::sqrt(d.square().mean().item<double>()) : d[worst].item<double>();
  print(name, error, atol, t.rms ? "rms" : "max", note.str());
}

Tolerance stated_in(const Json& info) {
  Tolerance t;
  const auto* atol = info.find("atol");
  if (atol && atol->is_number()) t.atol = atol->as_double();  // "exact" or absent: none
  const auto* metric = info.find("metric");
  t.rms = metric && metric->is_string() && metric->as_string() == "rms";
  return t;
}

Tolerance of_name(const Json& tolerances, std::string name) {
  if (name.ends_with("_f64")) name.resize(name.size() - 4);
  Tolerance t;
  const auto* info = tolerances.find(name);
  if (!info) return t;
  t = stated_in(*info);
  if (const auto* steps = info->find("atol_per_step"))
    for (const auto& s : steps->items()) t.per_step.push_back(s.as_double());
  if (const auto* share = info->find("frac_required")) {
    t.share = share->as_double();
    t.hard_atol = info->find("hard_atol")->as_double();
    t.atol = std::max(t.atol, 1e-9);
  }
  return t;
}

bool is_output(const std::string& name) {
  return name.starts_with("out.") || name.starts_with("grad") || name.starts_with("after") ||
         name.find(".out.") != std::string::npos;
}

}  // namespace

Case::Case(const std::string& dir)
    : folder(dir + "/"),
      doc(Json::read(std::ifstream(dir + "/case.json").good() ? dir + "/case.json" : dir + "/config.json")) {
  if (std::ifstream(folder + "io.safetensors").good()) io = SafetensorsFile::open(folder + "io.safetensors");
}

Tensor Case::stored(const std::string& name) const {
  if (!io) throw Failure(Code::BadFile, folder + "io.safetensors: expected the case's tensors, found no such file");
  return io->load(name);
}

const Json& Case::fact(const char* name) const { return at({"facts", name}); }

const Json& Case::at(std::initializer_list<const char*> path) const {
  const Json* value = &doc;
  std::string read;
  for (const auto* key : path) {
    if (!read.empty()) read += '.';
    read += key;
    value = value->find(key);
    if (!value) throw Failure(Code::BadFile, folder + "case.json or config.json: expected " + read);
  }
  return *value;
}

std::set<std::string> Case::runs() const {
  std::set<std::string> all;
  for (const auto& [name, info] : tensors())
    if (name.size() > 2 && name[0] == 'r' && std::isdigit(name[1]) && name.find('.') != std::string::npos)
      all.insert(name.substr(0, name.find('.')));
  return all;
}

void compare(const Case& expected, const Outputs& got, const std::string& only_prefix) {
  if (const auto* tolerances = expected.doc.find("tolerance")) {
    for (const auto& [name, info] : expected.io->tensors())
      if (is_output(name)) compare_one(name, expected.stored(name), got, of_name(*tolerances, name));
    return;
  }
  for (const auto& [name, info] : expected.tensors()) {
    const auto* role = info.find("role");
    if (!role || role->as_string() != "out" || name.rfind(only_prefix, 0) != 0) continue;
    compare_one(name, expected.stored(name), got, stated_in(info));
  }
}

void put(Outputs& out, const std::string& prefix, const Outputs& values) {
  for (const auto& [name, value] : values) out[prefix + name] = value;
}

}  // namespace drm::parity
