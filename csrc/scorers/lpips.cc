#include "scorers/lpips.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>

#include "scorers/weights_hint.h"
#include "tensor_io/config_reader.h"

namespace drm {
namespace {

/// A convolution of torchvision's `features`: its number there, kernel, stride, padding.
struct Plan {
  int64_t index, kernel, stride, padding;
};
struct StagePlan {
  int64_t pool;
  std::vector<Plan> convolutions;
};

std::array<StagePlan, 5> plan_of(LpipsNetwork network) {
  if (network == LpipsNetwork::Alex)
    return {
        {{0, {{0, 11, 4, 2}}}, {3, {{3, 5, 1, 2}}}, {3, {{6, 3, 1, 1}}}, {0, {{8, 3, 1, 1}}}, {0, {{10, 3, 1, 1}}}}};
  const auto threes = [](const std::vector<int64_t>& indexes) {
    std::vector<Plan> all;
    for (const auto index : indexes) all.push_back({index, 3, 1, 1});
    return all;
  };
  return {{{0, threes({0, 2})},
           {2, threes({5, 7})},
           {2, threes({10, 12, 14})},
           {2, threes({17, 19, 21})},
           {2, threes({24, 26, 28})}}};
}

const char* name_of(LpipsNetwork network) { return network == LpipsNetwork::Alex ? "alex" : "vgg"; }

bool is_lin(const std::string& key) { return key.rfind("lin", 0) == 0; }

/// A key that only VGG16's trunk has.
constexpr const char* kVggOnly = "features.2.weight";

/// What weights that do not fit look like.
std::string hint(const Weights& weights, LpipsNetwork network) {
  const auto& entries = weights.entries();
  const auto any = [&](const char* start) {
    const auto it = entries.lower_bound(start);
    return it != entries.end() && it->first.rfind(start, 0) == 0;
  };
  const bool has_trunk = any("features."), has_lin = any("lin");
  if (!has_trunk && !has_lin) return looks_like(weights);
  const std::string lin = name_of(network), trunk = network == LpipsNetwork::Alex ? "alexnet" : "vgg16";
  if (!has_trunk)
    return "these are the lin weights alone: give torchvision's " + trunk + " beside them, which has features.0.weight";
  if (const auto found = guess_lpips_config(weights).network; found != network)
    return std::string("these look like the trunk of network ") + name_of(found) + ", the config says " + lin;
  if (!has_lin)
    return "this is a trunk alone: give the authors' v0.1/" + lin + " beside it, which has lin0.model.1.weight";
  return "";
}

/// (1, 3, 1, 1) on the device of x.
Tensor channels(const std::array<double, 3>& values, const Tensor& x) {
  return at::tensor(at::ArrayRef<double>(values), x.options()).view({1, 3, 1, 1});
}

}  // namespace

LpipsConfig published_lpips(LpipsNetwork network) {
  if (network == LpipsNetwork::Alex) return {network, {64, 192, 384, 256, 256}};
  return {network, {64, 128, 256, 512, 512}};
}

LpipsConfig read_lpips_config(const std::string& path) {
  std::shared_ptr<Json> keep;
  const auto r = ConfigReader::read(path, keep);
  r.expect("version", "0.1");
  auto c = published_lpips(r.one_of("network", {"alex", "vgg"}) == "vgg" ? LpipsNetwork::Vgg : LpipsNetwork::Alex);
  const auto widths = r.integers("channels", {c.channels.begin(), c.channels.end()});
  if (widths.size() != c.channels.size() ||
      std::any_of(widths.begin(), widths.end(), [](int64_t width) { return width < 1 || width > 65536; }))
    throw Failure(Code::BadConfig,
                  "[config] channels in " + path +
                      ": expected 5 positive numbers, found others; leave them out for the "
                      "published network",
                  {{"file", path}, {"key", "channels"}});
  std::copy(widths.begin(), widths.end(), c.channels.begin());
  return c;
}

LpipsConfig guess_lpips_config(const Weights& weights) {
  return published_lpips(weights.has(kVggOnly) ? LpipsNetwork::Vgg : LpipsNetwork::Alex);
}

Lpips make_lpips(const LpipsConfig& config) {
  Lpips m{config, {}};
  const auto plan = plan_of(config.network);
  int64_t in = 3;
  for (size_t i = 0; i < plan.size(); ++i) {
    auto& stage = m.stages[i];
    const auto out = config.channels[i];
    stage.pool = plan[i].pool;
    for (const auto& p : plan[i].convolutions) {
      stage.convolutions.push_back({p.index, p.kernel, p.stride, p.padding, make_conv(in, out, p.kernel)});
      in = out;
    }
    stage.lin = make_conv(out, 1, 1, false);
  }
  return m;
}

KeyReader lpips_keys() {
  return [](const std::vector<std::string>& names) { return plain_keys(names, "", "torchvision and lpips"); };
}

void load_lpips(Lpips& m, const Weights& weights, at::ScalarType dtype, at::Device device,
                const std::function<void(uint64_t, uint64_t)>& progress) {
  auto all = wanted(m);
  for (auto& one : all)
    if (is_lin(one.key)) one.dtype = at::kFloat;
  const auto ignorable = [](const std::string& key) { return key.rfind("classifier.", 0) == 0; };
  weights.fill(all, dtype, device, ignorable, hint(weights, m.config.network), progress);
}

int64_t smallest_side(const Lpips& m) {
  int64_t side = 1;
  for (auto stage = m.stages.rbegin(); stage != m.stages.rend(); ++stage) {
    for (auto c = stage->convolutions.rbegin(); c != stage->convolutions.rend(); ++c)
      side = std::max<int64_t>(1, (side - 1) * c->stride + c->kernel - 2 * c->padding);
    if (stage->pool) side = (side - 1) * 2 + stage->pool;
  }
  return side;
}

Tensor lpips_pixels(const Tensor& images_BHWC) { return images_BHWC.permute({0, 3, 1, 2}).to(at::kFloat) / 127.5 - 1; }

std::vector<Tensor> lpips_features(const Lpips& m, const Tensor& pixels, const Observer* observer) {
  const auto smallest = smallest_side(m);
  if (pixels.dim() != 4 || pixels.size(1) != 3 || pixels.size(2) < smallest || pixels.size(3) < smallest)
    throw Failure(Code::BadRequest, "[lpips] pixels: expected (batch, 3, H, W) with H and W of at least " +
                                        std::to_string(smallest) + ", found " + c10::str(pixels.sizes()));
  // The authors' scaling layer: ImageNet's mean and deviation, in units of [-1, 1].
  const auto scaled = (pixels - channels({-0.030, -0.088, -0.188}, pixels)) / channels({0.458, 0.448, 0.450}, pixels);
  auto x = scaled.to(m.stages[0].convolutions[0].conv.weight.scalar_type());
  std::vector<Tensor> features;
  for (size_t i = 0; i < m.stages.size(); ++i) {
    const auto& stage = m.stages[i];
    if (stage.pool) x = at::max_pool2d(x, {stage.pool, stage.pool}, {2, 2});
    for (const auto& c : stage.convolutions) x = at::relu(conv2d(c.conv, x, c.stride, c.padding));
    if (observer) (*observer)("stage." + std::to_string(i), x);
    const auto f = x.to(at::kFloat);
    // Outside the root: reimplementations that have 1e-8 inside give other distances where features are small.
    features.push_back(f / (f.square().sum(1, true).sqrt() + 1e-10));
  }
  return features;
}

Tensor lpips_by_stage(const Lpips& m, const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  std::vector<Tensor> stages;
  for (size_t i = 0; i < m.stages.size(); ++i) {
    const auto difference = (a[i] - b[i]).square_().mul_(m.stages[i].lin.weight);
    stages.push_back(difference.sum(1).mean({1, 2}));
  }
  return at::stack(stages, 1);
}

std::array<double, 5> published_lin_sums(LpipsNetwork network) {
  if (network == LpipsNetwork::Alex) return {2.349532, 16.143027, 39.268439, 27.197178, 20.317177};
  return {6.925992, 8.858334, 17.515006, 51.521323, 47.034854};
}

std::array<double, 5> lin_sums(const Lpips& m) {
  std::array<double, 5> sums{};
  for (size_t i = 0; i < sums.size(); ++i) sums[i] = m.stages[i].lin.weight.sum(at::kDouble).item<double>();
  return sums;
}

}  // namespace drm
