#include "requests.h"

namespace drm::binding {

ComponentFiles component_from_js(const Fields& source, const char* name) {
  if (!source.has(name)) return {};
  const auto fields = source.object(name);
  return {fields.has("config") ? fields.text("config") : "", fields.texts("weights")};
}

PipelineSource pipeline_source_from_js(const Fields& fields) {
  PipelineSource source;
  source.transformer = component_from_js(fields, "transformer");
  source.vae = component_from_js(fields, "vae");
  source.text_encoder = component_from_js(fields, "textEncoder");
  source.text_encoder_2 = component_from_js(fields, "textEncoder2");
  source.text_encoder_3 = component_from_js(fields, "textEncoder3");
  if (fields.has("schedulerConfig")) source.scheduler_config = fields.text("schedulerConfig");
  return source;
}

std::vector<LoraUse> loras_from_js(const Fields& fields) {
  std::vector<LoraUse> uses;
  if (fields.has("loras"))
    for (const auto& use : fields.objects("loras")) uses.push_back({use.text("file"), use.number("strength")});
  return uses;
}

std::vector<Bitmap> bitmaps_from_js(const Fields& request, const char* name) {
  std::vector<Bitmap> images;
  for (const auto& fields : request.objects(name)) {
    const auto bytes = fields.bytes("pixels");
    images.push_back({{bytes.data, bytes.data + bytes.size}, fields.integer("height"), fields.integer("width"), 3});
  }
  return images;
}

std::vector<PromptTokens> prompts_from_js(const Fields& request, const char* name) {
  std::vector<PromptTokens> prompts;
  for (const auto& fields : request.objects(name))
    prompts.push_back({fields.token_ids("clipL"), fields.token_ids("clipG"), fields.token_ids("t5")});
  return prompts;
}

TrainBatch batch_from_js(const Fields& fields) {
  TrainBatch b;
  b.samples = fields.integers("samples");
  if (fields.has("images")) b.images = fields.integers("images");
  if (fields.has("pixels")) {
    const auto bytes = fields.bytes("pixels");
    b.pixels.assign(bytes.data, bytes.data + bytes.size);
    b.height = fields.integer("height");
    b.width = fields.integer("width");
  }
  if (fields.has("ids")) b.ids = fields.token_ids("ids");
  if (fields.has("texts")) b.texts = fields.integers("texts");
  if (fields.has("prompts")) b.prompts = prompts_from_js(fields, "prompts");
  if (fields.has("step")) b.step = fields.integer("step");
  if (fields.has("advantages")) b.advantages = fields.floats("advantages");
  return b;
}

Napi::Value nothing(Napi::Env env, bool&&) { return env.Undefined(); }

}  // namespace drm::binding
