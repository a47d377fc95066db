// What every scorer does with a long list of images or texts: a few rows a pass, progress, cancelling, and a check that
// what comes out are numbers.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "common/control.h"
#include "scorers/cmmd.h"
#include "scorers/pillow_resize.h"

namespace drm {

/// What messages and events call the work: "clip", "images".
struct PassLabel {
  const char* scorer;
  const char* phase;
};

/// pass(begin, end) gives (end - begin, width) or (end - begin) numbers of any dtype on any device, without gradients.
/// Returns all of them, (count, width) or (count), fp32 on the CPU; `tokens` is what a row costs
/// (models/pass_budget.h). Reports the phase in rows. Throws Failure(NotFinite | Cancelled) and what pass() throws.
at::Tensor in_passes(const PassLabel& label, size_t count, int64_t tokens,
                     const std::function<at::Tensor(size_t begin, size_t end)>& pass, Control& control);

/// The same of rows that are prepared first, as images are: while network(prepared, begin, end) computes, prepare() has
/// the next pass on a thread of its own, so that a GPU does not wait for it. One pass ahead, never more. What prepare()
/// throws comes when its pass is due; whatever else ends the call waits for the pass that is being prepared.
at::Tensor in_passes(const PassLabel& label, size_t count, int64_t tokens,
                     const std::function<at::Tensor(size_t begin, size_t end)>& prepare,
                     const std::function<at::Tensor(const at::Tensor& prepared, size_t begin, size_t end)>& network,
                     Control& control);

/// Bytes (end - begin, H, W, 3) of images that prepare() brings to one size, prepared side by side on libtorch's
/// threads. Throws Failure(BadRequest) for an image that is not RGB.
at::Tensor prepared(const std::vector<Bitmap>& images, size_t begin, size_t end,
                    const std::function<Bitmap(const Bitmap&)>& prepare);
/// The same of images that become floats, each 3 x side x side: (end - begin, 3, side, side), fp32.
at::Tensor prepared_floats(const std::vector<Bitmap>& images, size_t begin, size_t end, int64_t side,
                           const std::function<std::vector<float>(const Bitmap&)>& prepare);

/// (end - begin, tokens), int64. Throws Failure(BadRequest) naming `scorer` and the row that has another length.
at::Tensor token_rows(const char* scorer, const std::vector<std::vector<int64_t>>& ids, size_t begin, size_t end,
                      int64_t tokens);

/// What in_passes() gave, (count, width), as the scorers' callers take it; no rows where count was 0.
Features to_features(const at::Tensor& features, int64_t width);

}  // namespace drm
