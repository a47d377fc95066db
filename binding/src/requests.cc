#include "requests.h"

namespace drm::binding {
namespace {

ComponentFiles component(const Fields& source, const char* name) {
  if (!source.has(name)) return {};
  const auto fields = source.object(name);
  return {fields.has("config") ? fields.text("config") : "", fields.texts("weights")};
}

}  // namespace

PipelineSource pipeline_source_from_js(const Fields& fields) {
  PipelineSource source;
  source.transformer = component(fields, "transformer");
  source.vae = component(fields, "vae");
  source.text_encoder = component(fields, "textEncoder");
  source.text_encoder_2 = component(fields, "textEncoder2");
  source.text_encoder_3 = component(fields, "textEncoder3");
  if (fields.has("schedulerConfig")) source.scheduler_config = fields.text("schedulerConfig");
  return source;
}

std::vector<PromptTokens> prompts_from_js(const Fields& request, const char* name) {
  std::vector<PromptTokens> prompts;
  for (const auto& fields : request.objects(name))
    prompts.push_back({fields.token_ids("clipL"), fields.token_ids("clipG"), fields.token_ids("t5")});
  return prompts;
}

}  // namespace drm::binding
