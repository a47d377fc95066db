// Requests that more than one object takes.
#pragma once
#include <vector>

#include "arguments.h"
#include "pipeline/pipeline.h"

namespace drm::binding {

PipelineSource pipeline_source_from_js(const Fields& fields);
/// An array of { clipL, clipG, t5 } below `name`.
std::vector<PromptTokens> prompts_from_js(const Fields& request, const char* name);

}  // namespace drm::binding
