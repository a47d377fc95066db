#include "scorers/affine_head.h"

#include <ATen/ATen.h>

#include <iterator>

#include "tensor_io/config_reader.h"

namespace drm {

std::vector<int64_t> read_head_sizes(const Json& config, const std::string& path) {
  std::vector<int64_t> published = {1024, 128, 64, 16};
  const auto* section = config.find("head_config");
  if (!section) return published;
  const ConfigReader r(*section, path + ": head_config");
  const auto sizes = r.integers("hidden_sizes", published);
  bool good = sizes.size() + 1 == std::size(kHeadPlaces);
  for (const auto size : sizes) good = good && size >= 1 && size <= 65536;
  if (!good)
    throw Failure(Code::BadConfig, "[config] hidden_sizes in " + r.file() + ": expected " +
                                       std::to_string(std::size(kHeadPlaces) - 1) +
                                       " positive widths; compare with the published ones, 1024, 128, 64 and 16");
  return sizes;
}

AffineHead make_affine_head(int64_t width, const std::vector<int64_t>& hidden_sizes) {
  AffineHead head;
  for (const auto size : hidden_sizes) {
    head.layers.push_back(make_linear(width, size));
    width = size;
  }
  head.layers.push_back(make_linear(width, 1));
  return head;
}

AffineMap collapse(const AffineHead& head, at::Device device) {
  const auto exact = [](const Tensor& t) { return t.to(at::kCPU, at::kDouble); };
  auto weight = exact(head.layers.back().weight), bias = exact(head.layers.back().bias);
  for (auto l = head.layers.rbegin() + 1; l != head.layers.rend(); ++l) {
    bias = bias + weight.matmul(exact(l->bias));
    weight = weight.matmul(exact(l->weight));
  }
  return {weight.to(device, at::kFloat), bias.to(device, at::kFloat)};
}

Tensor affine(const AffineMap& map, const Tensor& x) {
  return at::linear(x.to(at::kFloat), map.weight, map.bias).squeeze(-1);
}

}  // namespace drm
