// What the addon exports; addon.cc gives the names, and binding/native.ts mirrors that list.
#pragma once
#include "napi_setup.h"

namespace drm::binding {

// build_info.cc, runtime.cc, exit.cc
Napi::Value build_info(const Napi::CallbackInfo& info);
Napi::Value runtime_info_to_js(const Napi::CallbackInfo& info);
Napi::Value set_threads_from_js(const Napi::CallbackInfo& info);
Napi::Value prepare_exit(const Napi::CallbackInfo& info);

// pipeline.cc
Napi::Value load_pipeline(const Napi::CallbackInfo& info);
Napi::Value pipeline_info(const Napi::CallbackInfo& info);
Napi::Value sample(const Napi::CallbackInfo& info);
Napi::Value dispose_pipeline(const Napi::CallbackInfo& info);

// process_group.cc
Napi::Value parallel_info_to_js(const Napi::CallbackInfo& info);
Napi::Value join_group(const Napi::CallbackInfo& info);
Napi::Value group_exchange(const Napi::CallbackInfo& info);
Napi::Value group_watch(const Napi::CallbackInfo& info);
Napi::Value leave_group(const Napi::CallbackInfo& info);

// trainer.cc
Napi::Value create_trainer(const Napi::CallbackInfo& info);
Napi::Value trainer_parameters(const Napi::CallbackInfo& info);
Napi::Value trainer_step(const Napi::CallbackInfo& info);
Napi::Value trainer_evaluate(const Napi::CallbackInfo& info);
Napi::Value trainer_cache_latents(const Napi::CallbackInfo& info);
Napi::Value trainer_cache_prompts(const Napi::CallbackInfo& info);
Napi::Value trainer_load_latents(const Napi::CallbackInfo& info);
Napi::Value trainer_load_prompts(const Napi::CallbackInfo& info);
Napi::Value trainer_preview(const Napi::CallbackInfo& info);
Napi::Value trainer_rollout(const Napi::CallbackInfo& info);
Napi::Value trainer_ratio_error(const Napi::CallbackInfo& info);
Napi::Value trainer_sample(const Napi::CallbackInfo& info);
Napi::Value trainer_save(const Napi::CallbackInfo& info);
Napi::Value trainer_restore(const Napi::CallbackInfo& info);
Napi::Value trainer_export(const Napi::CallbackInfo& info);
Napi::Value dispose_trainer(const Napi::CallbackInfo& info);

// advantages.cc
Napi::Value group_advantages_of(const Napi::CallbackInfo& info);

// scorer.cc
Napi::Value load_clip_scorer(const Napi::CallbackInfo& info);
Napi::Value clip_scorer_info(const Napi::CallbackInfo& info);
Napi::Value clip_image_features(const Napi::CallbackInfo& info);
Napi::Value clip_text_features(const Napi::CallbackInfo& info);
Napi::Value dispose_clip_scorer(const Napi::CallbackInfo& info);
Napi::Value cmmd_of_features(const Napi::CallbackInfo& info);
Napi::Value resize_pictures(const Napi::CallbackInfo& info);

// reward.cc
Napi::Value load_reward_model(const Napi::CallbackInfo& info);
Napi::Value reward_model_info(const Napi::CallbackInfo& info);
Napi::Value reward_model_score(const Napi::CallbackInfo& info);
Napi::Value dispose_reward_model(const Napi::CallbackInfo& info);

// lora.cc
Napi::Value inspect_lora_file(const Napi::CallbackInfo& info);
Napi::Value convert_lora_file(const Napi::CallbackInfo& info);
Napi::Value merge_lora_files(const Napi::CallbackInfo& info);

// weights.cc
Napi::Value list_tensor_names(const Napi::CallbackInfo& info);
Napi::Value list_components_inside(const Napi::CallbackInfo& info);

// encoder.cc
Napi::Value load_encoder(const Napi::CallbackInfo& info);
Napi::Value encode_latents(const Napi::CallbackInfo& info);
Napi::Value encode_prompts_to_file(const Napi::CallbackInfo& info);
Napi::Value dispose_encoder(const Napi::CallbackInfo& info);

// test_job.cc
Napi::Value test_job(const Napi::CallbackInfo& info);
Napi::Value test_handle(const Napi::CallbackInfo& info);
Napi::Value dispose_test_handle(const Napi::CallbackInfo& info);
Napi::Value test_objects_alive(const Napi::CallbackInfo& info);

}  // namespace drm::binding
