#include "train/objective.h"

#include <ATen/ATen.h>

namespace drm {
namespace {

template <class T>
at::Tensor view(const std::vector<T>& data, at::IntArrayRef shape, at::ScalarType dtype) {
  return at::from_blob(const_cast<T*>(data.data()), shape, at::TensorOptions().dtype(dtype));
}

}  // namespace

at::Tensor batch_pixels(const TrainBatch& batch) {
  const auto images = static_cast<int64_t>(batch.image_ids().size());
  const auto expected = images * batch.height * batch.width * 3;
  if (batch.pixels.empty() || static_cast<int64_t>(batch.pixels.size()) != expected)
    throw Failure(Code::BadRequest, "[train] pixels of " + std::to_string(images) + " images of " +
                                        std::to_string(batch.width) + " x " + std::to_string(batch.height) +
                                        ": expected " + std::to_string(expected) + " bytes, found " +
                                        std::to_string(batch.pixels.size()));
  return view(batch.pixels, {images, batch.height, batch.width, 3}, at::kByte);
}

at::Tensor batch_ids(const TrainBatch& batch) {
  if (batch.ids.empty() || static_cast<int64_t>(batch.ids.size()) % batch.size())
    throw Failure(Code::BadRequest, "[train] token ids of " + std::to_string(batch.size()) +
                                        " samples: expected rows of one length, found " +
                                        std::to_string(batch.ids.size()) + " ids");
  return view(batch.ids, {batch.size(), static_cast<int64_t>(batch.ids.size()) / batch.size()}, at::kLong);
}

void require_pairs(const TrainBatch& batch, const char* where) {
  if (batch.images.size() != 2 * batch.samples.size())
    throw Failure(Code::BadRequest, std::string("[") + where + "] expected two images a pair, found " +
                                        std::to_string(batch.images.size()) + " for " +
                                        std::to_string(batch.samples.size()) + " pairs");
}

}  // namespace drm
