// Requests that more than one object takes.
#pragma once
#include <vector>

#include "api/pipeline.h"
#include "arguments.h"
#include "scorers/pillow_resize.h"
#include "train/spec.h"

namespace drm::binding {

/// { config?, weights } below `name`; absent: no files.
ComponentFiles component_from_js(const Fields& source, const char* name);
PipelineSource pipeline_source_from_js(const Fields& fields);
/// An array of { file, strength } below "loras"; absent: none.
std::vector<LoraUse> loras_from_js(const Fields& fields);
/// An array of { pixels, width, height }, RGB, below `name`.
std::vector<Bitmap> bitmaps_from_js(const Fields& request, const char* name);
/// See TrainBatch in binding/types.ts.
TrainBatch batch_from_js(const Fields& fields);
/// What a job gives back that only does something.
Napi::Value nothing(Napi::Env env, bool&&);
/// An array of { clipL, clipG, t5 } below `name`.
std::vector<PromptTokens> prompts_from_js(const Fields& request, const char* name);

}  // namespace drm::binding
