#include "vae/images.h"

#include <ATen/ATen.h>

#include "common/stopwatch.h"

namespace drm {

Tensor decode_to_bytes(const Vae& v, const Tensor& latents, int64_t tile, const Control& control) {
  const auto z = unscale_latents(v.config, latents).to(v.decoder.conv_in.weight.scalar_type());
  const auto largest = std::max(z.size(2), z.size(3));
  // One pass up to 2048 pixels a side for SD3's VAE; beyond, activations alone would take tens of gigabytes.
  const bool tiled = tile > 0 ? largest > tile : tile == 0 && largest > 256;
  const Tiling tiling{tile > 0 ? tile : 128, (tile > 0 ? tile : 128) / 4};
  const auto decoded = tiled ? decode_tiled(v, z, tiling, control) : decode(v, z);
  return bytes_from_unit(unit_range(decoded)).to(at::kCPU);
}

Event image_event(const char* kind, const Tensor& bytes) {
  const auto dense = bytes.contiguous();
  Event e;
  e.kind = kind;
  const auto* p = dense.const_data_ptr<uint8_t>();
  e.bytes.assign(p, p + dense.numel());
  e.fields = {{"height", static_cast<double>(dense.size(0))}, {"width", static_cast<double>(dense.size(1))}};
  return e;
}

void emit_images(const Vae& v, const Tensor& latents, const EmittedImages& images, const Control& control) {
  const Stopwatch clock;
  const auto total = images.total ? images.total : images.first + latents.size(0);
  for (int64_t i = 0; i < latents.size(0); ++i) {
    control.check();
    auto e = image_event("image", decode_to_bytes(v, latents.narrow(0, i, 1), images.tile, control)[0]);
    e.fields.emplace_back("index", static_cast<double>(images.first + i));
    if (images.add) images.add(e, images.first + i);
    control.emit(std::move(e));
    control.report({"decode", images.first + i + 1, total, images.seconds + clock.seconds()});
  }
}

}  // namespace drm
