#include "api/describe_model.h"

#include "lora/lora_file.h"
#include "reward/reward_net.h"
#include "vae/autoencoder.h"

namespace drm {
namespace {

std::shared_ptr<VelocityModel> plan_of(const DescribeRequest& r) {
  const auto& checkpoint = r.checkpoint;
  if (!checkpoint.present() && checkpoint.config.empty()) return velocity_config_of(r.source.transformer).plan(0);
  const auto config = reward_config_of(checkpoint);
  return config.backbone.plan(config.keep_layers);
}

}  // namespace

ModelDescription describe_model(const DescribeRequest& r) {
  const auto model = plan_of(r);
  const auto& m = model->info();
  ModelDescription d;
  d.class_name = m.class_name;
  d.in_channels = m.in_channels;
  d.patch_size = m.patch_size;
  d.layers = m.layers;
  d.run_layers = model->run_layers();
  d.width = m.width;
  d.sequence_width = m.sequence_width;
  d.pooled_width = m.pooled_width;
  d.shape = m.shape;
  d.parameters = static_cast<double>(size_of(*model).parameters);
  for (const auto& layer : linear_layers(*model)) d.linear_layers.push_back(layer.name);
  const auto& vae = r.source.vae;
  if (!vae.present() && vae.config.empty()) return d;
  const auto config = vae_config_of(vae);
  d.vae_factor = config.factor();
  d.vae_channels = config.latent_channels;
  d.size_unit = d.vae_factor * m.patch_size;
  d.default_size = d.vae_factor * m.default_size;
  d.largest_size = d.size_unit * m.most_patches;
  const auto side = (r.size ? r.size : d.default_size) / d.vae_factor, patches = side / m.patch_size;
  const auto cost = model->cost(patches * patches, r.text_tokens);
  d.operations = cost.operations;
  d.weights = cost.weights;
  d.working = cost.working;
  d.kept = cost.kept;
  d.checkpointed = cost.checkpointed;
  d.latent_numbers = static_cast<double>(m.in_channels * side * side);
  return d;
}

}  // namespace drm
