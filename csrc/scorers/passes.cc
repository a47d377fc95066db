#include "scorers/passes.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <future>

#include "common/failure.h"
#include "common/stopwatch.h"
#include "models/pass_budget.h"

namespace drm {

at::Tensor in_passes(const PassLabel& label, size_t count, int64_t tokens,
                     const std::function<at::Tensor(size_t, size_t)>& pass, Control& control) {
  const at::NoGradGuard no_grad;
  const Stopwatch clock;
  const auto step = static_cast<size_t>(rows_per_pass(PassBudget::Scorer, tokens));
  std::vector<at::Tensor> parts;
  for (size_t begin = 0; begin < count; begin += step) {
    control.check();
    const auto end = std::min(count, begin + step);
    parts.push_back(pass(begin, end).to(at::kCPU, at::kFloat));
    if (!at::isfinite(parts.back()).all().item<bool>())
      throw Failure(Code::NotFinite, std::string("[") + label.scorer + "] " + label.phase +
                                         ": expected finite numbers, found NaN or infinity; the scorer's weights are "
                                         "damaged: fetch or train them again");
    control.report({label.phase, static_cast<int64_t>(end), static_cast<int64_t>(count), clock.seconds()});
  }
  return parts.empty() ? at::empty({0}) : at::cat(parts).contiguous();
}

at::Tensor in_passes(const PassLabel& label, size_t count, int64_t tokens,
                     const std::function<at::Tensor(size_t, size_t)>& prepare,
                     const std::function<at::Tensor(const at::Tensor&, size_t, size_t)>& network, Control& control) {
  const auto step = static_cast<size_t>(rows_per_pass(PassBudget::Scorer, tokens));
  const auto start = [&](size_t begin) {
    return std::async(std::launch::async, [&, begin] { return prepare(begin, std::min(count, begin + step)); });
  };
  std::future<at::Tensor> next;  // its destructor waits
  if (count > 0) next = start(0);
  const auto pass = [&](size_t begin, size_t end) {
    const auto ready = next.get();
    if (end < count) next = start(end);
    return network(ready, begin, end);
  };
  return in_passes(label, count, tokens, pass, control);
}

namespace {

template <class Prepare>
auto side_by_side(const std::vector<Bitmap>& images, size_t begin, size_t end, const Prepare& prepare) {
  std::vector<decltype(prepare(images[0]))> ready(end - begin);
  at::parallel_for(0, static_cast<int64_t>(ready.size()), 1, [&](int64_t from, int64_t to) {
    for (auto i = static_cast<size_t>(from); i < static_cast<size_t>(to); ++i) {
      const auto& image = images[begin + i];
      if (image.channels != 3)
        throw Failure(Code::BadRequest,
                      "[score] expected RGB images, found one of " + std::to_string(image.channels) + " channels");
      ready[i] = prepare(image);
    }
  });
  return ready;
}

}  // namespace

at::Tensor prepared(const std::vector<Bitmap>& images, size_t begin, size_t end,
                    const std::function<Bitmap(const Bitmap&)>& prepare) {
  const auto ready = side_by_side(images, begin, end, prepare);
  auto bytes = at::empty({static_cast<int64_t>(ready.size()), ready.front().height, ready.front().width, 3}, at::kByte);
  auto* to = bytes.data_ptr<uint8_t>();
  for (const auto& image : ready) to = std::copy(image.pixels.begin(), image.pixels.end(), to);
  return bytes;
}

at::Tensor prepared_floats(const std::vector<Bitmap>& images, size_t begin, size_t end, int64_t side,
                           const std::function<std::vector<float>(const Bitmap&)>& prepare) {
  const auto ready = side_by_side(images, begin, end, prepare);
  auto pixels = at::empty({static_cast<int64_t>(ready.size()), 3, side, side}, at::kFloat);
  auto* to = pixels.data_ptr<float>();
  for (const auto& image : ready) to = std::copy(image.begin(), image.end(), to);
  return pixels;
}

at::Tensor token_rows(const char* scorer, const std::vector<std::vector<int64_t>>& ids, size_t begin, size_t end,
                      int64_t tokens) {
  auto rows = at::empty({static_cast<int64_t>(end - begin), tokens}, at::kLong);
  auto* to = rows.data_ptr<int64_t>();
  for (auto i = begin; i < end; ++i) {
    if (static_cast<int64_t>(ids[i].size()) != tokens)
      throw Failure(Code::BadRequest, std::string("[") + scorer + "] caption " + std::to_string(i) + ": expected " +
                                          std::to_string(tokens) + " token ids, found " +
                                          std::to_string(ids[i].size()));
    to = std::copy(ids[i].begin(), ids[i].end(), to);
  }
  return rows;
}

Features to_features(const at::Tensor& features, int64_t width) {
  const auto* values = features.const_data_ptr<float>();
  return {{values, values + features.numel()}, features.numel() / width, width};
}

}  // namespace drm
