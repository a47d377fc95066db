#include "exports.h"
#include "guarded.h"

namespace drm::binding {
namespace {

template <Napi::Value (*function)(const Napi::CallbackInfo&)>
void define(Napi::Object exports, const char* name) {
  exports[name] = Napi::Function::New(exports.Env(), guarded<function>, name);
}

Napi::Object init(Napi::Env, Napi::Object exports) {
  define<build_info>(exports, "buildInfo");
  define<runtime_info_to_js>(exports, "runtimeInfo");
  define<set_threads_from_js>(exports, "setThreads");
  define<prepare_exit>(exports, "prepareExit");
  define<load_pipeline>(exports, "loadPipeline");
  define<pipeline_info>(exports, "pipelineInfo");
  define<sample>(exports, "sample");
  define<dispose_pipeline>(exports, "disposePipeline");
  define<parallel_info_to_js>(exports, "parallelInfo");
  define<join_group>(exports, "joinGroup");
  define<group_exchange>(exports, "groupExchange");
  define<group_watch>(exports, "groupWatch");
  define<leave_group>(exports, "leaveGroup");
  define<create_trainer>(exports, "createTrainer");
  define<trainer_parameters>(exports, "trainerParameters");
  define<trainer_step>(exports, "trainerStep");
  define<trainer_evaluate>(exports, "trainerEvaluate");
  define<trainer_cache_latents>(exports, "trainerCacheLatents");
  define<trainer_cache_prompts>(exports, "trainerCachePrompts");
  define<trainer_load_latents>(exports, "trainerLoadLatents");
  define<trainer_load_prompts>(exports, "trainerLoadPrompts");
  define<trainer_preview>(exports, "trainerPreview");
  define<trainer_rollout>(exports, "trainerRollout");
  define<trainer_ratio_error>(exports, "trainerRatioError");
  define<trainer_sample>(exports, "trainerSample");
  define<trainer_save>(exports, "trainerSave");
  define<trainer_restore>(exports, "trainerRestore");
  define<trainer_export>(exports, "trainerExport");
  define<dispose_trainer>(exports, "disposeTrainer");
  define<group_advantages_of>(exports, "groupAdvantages");
  define<load_encoder>(exports, "loadEncoder");
  define<encode_latents>(exports, "encodeLatents");
  define<encode_prompts_to_file>(exports, "encodePrompts");
  define<dispose_encoder>(exports, "disposeEncoder");
  define<load_reward_model>(exports, "loadRewardModel");
  define<reward_model_info>(exports, "rewardModelInfo");
  define<reward_model_score>(exports, "rewardModelScore");
  define<dispose_reward_model>(exports, "disposeRewardModel");
  define<load_clip_scorer>(exports, "loadClipScorer");
  define<clip_scorer_info>(exports, "clipScorerInfo");
  define<clip_image_features>(exports, "clipImageFeatures");
  define<clip_text_features>(exports, "clipTextFeatures");
  define<dispose_clip_scorer>(exports, "disposeClipScorer");
  define<cmmd_of_features>(exports, "cmmd");
  define<resize_pictures>(exports, "resizePictures");
  define<inspect_lora_file>(exports, "inspectLora");
  define<convert_lora_file>(exports, "convertLora");
  define<merge_lora_files>(exports, "mergeLoras");
  define<list_tensor_names>(exports, "tensorNames");
  define<list_components_inside>(exports, "componentsInside");
  define<test_job>(exports, "testJob");
  define<test_handle>(exports, "testHandle");
  define<dispose_test_handle>(exports, "disposeTestHandle");
  define<test_objects_alive>(exports, "testObjectsAlive");
  return exports;
}

}  // namespace
}  // namespace drm::binding

NAPI_MODULE_INIT() { return Napi::RegisterModule(env, exports, drm::binding::init); }
