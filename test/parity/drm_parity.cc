// Recomputes golden cases written by the Python libraries and compares tensor by tensor.
//
//   drm_parity [--device NAME] KIND CASE_DIR [ROOT] [TOKENS_JSON]
//
// works on the CPU, or on that device (`cuda`: without TF32), and prints one JSON object a line: {"tensor", "error",
// "atol", "metric", "note"}; a tensor that could not be recomputed has a "note" and no "error". Exit status 0 when
// every line could be printed, 2 when the case itself could not be run. The runner (run.ts) judges; ROOT is the folder
// of all cases, TOKENS_JSON the prompts' token ids for `pipeline`.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>

#include "case.h"
#include "flow/sampler.h"
#include "lora/lora_file.h"
#include "models/encode_prompts.h"
#include "models/sd3/prompt.h"
#include "models/sd3/sd3.h"
#include "optim/optimizer.h"
#include "runtime/device.h"
#include "text/text_keys.h"
#include "vae/autoencoder.h"
#include "vae/vae_keys.h"

using namespace drm;
using namespace drm::parity;

namespace {

Sd3 load_transformer(const std::string& config, const std::string& weights) {
  Sd3 m(make_mmdit(read_mmdit_config(config)));
  load_velocity_model(m, Weights::open({weights}, velocity_keys), at::kFloat, device);
  return m;
}

Outputs transformer_run(const VelocityModel& m, const Case& c, const std::string& run) {
  Outputs seen;
  const Observer observer = [&](const std::string& name, const Tensor& value) { seen[name] = value; };
  const auto text = m.embed_text({c.in(run + ".context"), c.in(run + ".pooled")});
  seen["velocity"] = m.velocity(c.in(run + ".latent"), c.in(run + ".timestep"), text, {{}, &observer});
  return seen;
}

Outputs check_mmdit(const Case& c) {
  Outputs out;
  auto m = load_transformer(c.folder + "config.json", c.folder + "diffusion_pytorch_model.safetensors");
  {
    const at::NoGradGuard no_grad;
    for (const auto& run : c.runs()) put(out, run + ".", transformer_run(m, c, run));
  }
  std::map<std::string, Tensor> leaves;
  each_tensor(m, [&](const std::string& name, Tensor& t) { leaves[name] = t.requires_grad_(true); });
  for (const char* name : {"latent", "context", "pooled"})
    leaves[std::string("input.") + name] = c.in(std::string("r0.") + name).requires_grad_(true);
  const auto text = m.embed_text({leaves["input.context"], leaves["input.pooled"]});
  const auto loss = m.velocity(leaves["input.latent"], c.in("r0.timestep"), text).square().mean();
  loss.backward();
  out["loss"] = loss.reshape({1});
  for (auto& [name, leaf] : leaves) out["grad." + name] = leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf);
  return out;
}

Outputs check_vae(const Case& c) {
  const at::NoGradGuard no_grad;
  auto v = make_vae(read_vae_config(c.folder + "config.json"));
  load_vae(v, Weights::open({c.folder + "diffusion_pytorch_model.safetensors"}, vae_keys), at::kFloat, device);
  Outputs out;
  for (const auto& run : c.runs()) {
    Outputs seen;
    const Observer observer = [&](const std::string& name, const Tensor& value) { seen[name] = value; };
    const auto image = image_from_bytes(c.in(run + ".image_u8"));
    const auto moments = encode_moments(v, image, &observer);
    const auto p = posterior(moments);
    const auto latent = scale_latents(v.config, p.mode()), z = unscale_latents(v.config, latent);
    const auto decoded = decode(v, z, &observer);
    put(seen, "",
        {{"image_norm", image},
         {"moments", moments},
         {"mean", p.mean},
         {"logvar", p.logvar},
         {"std", p.standard_deviation()},
         {"mode", p.mode()},
         {"sample", p.sample(c.in(run + ".noise"))},
         {"scaled_latent", latent},
         {"unscaled_latent", z},
         {"decoded", decoded},
         {"image01", unit_range(decoded)}});
    put(out, run + ".", seen);
  }
  if (c.has("clamp_moments")) out["clamp_logvar"] = posterior(c.in("clamp_moments")).logvar;
  return out;
}

Outputs check_clip(const Case& c) {
  const at::NoGradGuard no_grad;
  Outputs out;
  auto model = make_clip(read_clip_config(c.folder + "config.json"));
  load_clip(model, Weights::open({c.folder + "model.safetensors"}, clip_keys()), at::kFloat, device);
  const Observer observer = [&](const std::string& name, const Tensor& value) { out[name] = value; };
  const auto o = clip_forward(model, c.in("input_ids"), &observer);
  put(out, "", {{"penultimate", o.penultimate}, {"last_hidden_state", o.last}, {"text_embeds", o.pooled}});
  model.config.eos_token_id = read_clip_config(c.folder + "config_eos_id.json").eos_token_id;
  out["text_embeds_by_eos"] = clip_forward(model, c.in("input_ids")).pooled;
  return out;
}

Outputs check_t5(const Case& c) {
  const at::NoGradGuard no_grad;
  Outputs out;
  auto t = make_t5(read_t5_config(c.folder + "config.json"));
  load_t5(t, Weights::open({c.folder + "model.safetensors"}, t5_keys()), at::kFloat, device);
  const auto short_ids = c.in("short_ids"), ids = c.in("input_ids");
  const Observer observer = [&](const std::string& name, const Tensor& value) { out["short." + name] = value; };
  out["short.last_hidden_state"] = t5_forward(t, short_ids, {}, &observer);
  out["short.position_bias"] = t5_position_bias(t, short_ids.size(1));
  out["last_hidden_state"] = t5_forward(t, ids);
  const auto end = ids.eq(1).to(at::kInt).argmax(1, true);  // </s>
  const auto mask = at::arange(ids.size(1), ids.options()).le(end).to(at::kLong);
  const auto length = short_ids.size(1);
  out["contrast_with_mask_row0"] = t5_forward(t, ids, mask).narrow(0, 0, 1).narrow(1, 0, length);
  out["bucket"] = t5_buckets(c.in("relative_position"), t.config.relative_attention_num_buckets,
                             t.config.relative_attention_max_distance);
  return out;
}

Tensor as_tensor(const std::vector<float>& values) { return at::tensor(values, at::kFloat); }

Outputs check_scheduler(const Case& c) {
  const auto config = read_scheduler_config(c.folder + "scheduler_config.json");
  Outputs out;
  const auto train = training_schedule(config);
  out["train.sigmas"] = as_tensor(train.sigmas);
  out["train.timesteps"] = as_tensor(train.timesteps);
  out["noised"] = add_noise(c.in("noise.x0"), c.in("noise.noise"),
                            out["train.sigmas"].to(device).index_select(0, c.in("noise.train_index")));
  for (const auto& [name, info] : c.tensors()) {
    if (name.rfind("sigmas.", 0) != 0) continue;
    const auto s = sampling_schedule(config, std::stoll(name.substr(7)));
    out[name] = as_tensor(s.sigmas);
    out["timesteps." + name.substr(7)] = as_tensor(s.timesteps);
  }
  const auto which = c.in("euler.n_and_index");
  const auto s = sampling_schedule(config, which[0].item<int64_t>());
  const auto i = which[1].item<int64_t>();
  out["euler.prev"] = euler_step(c.in("euler.sample"), c.in("euler.velocity"), s.sigmas[i], s.sigmas[i + 1]);
  return out;
}

std::vector<PromptTokens> read_tokens(const Json& rows) {
  std::vector<PromptTokens> all;
  for (const auto& row : rows.items()) {
    PromptTokens p;
    const auto ids = [&](const char* name, std::vector<int64_t>& to) {
      for (const auto& id : row.find(name)->items()) to.push_back(id.as_int());
    };
    ids("clip_l", p.clip_l);
    ids("clip_g", p.clip_g);
    ids("t5", p.t5);
    all.push_back(std::move(p));
  }
  return all;
}

Outputs check_pipeline(const Case& c, const std::string& tokens_file) {
  const at::NoGradGuard no_grad;
  const Control control;
  const auto component = [&](const std::string& name, const char* file) {
    return ComponentFiles{c.folder + name + "/config.json", {c.folder + name + "/" + file}};
  };
  PipelineSource source;
  source.text_encoder = component("text_encoder", "model.safetensors");
  source.text_encoder_2 = component("text_encoder_2", "model.safetensors");
  source.text_encoder_3 = component("text_encoder_3", "model.safetensors");
  const auto encoders = load_text_encoders(plan_text_encoders(source), at::kFloat, device, {});
  const auto m = load_transformer(c.folder + "transformer/config.json",
                                  c.folder + "transformer/diffusion_pytorch_model.safetensors");
  auto v = make_vae(read_vae_config(c.folder + "vae/config.json"));
  load_vae(v, Weights::open({c.folder + "vae/diffusion_pytorch_model.safetensors"}, vae_keys), at::kFloat, device);

  const auto tokens = Json::read(tokens_file);
  const auto encode = [&](const char* rows) {
    const auto prompts = read_tokens(*tokens.find(rows));
    return encode_prompts(m, encoders, prompts, static_cast<int64_t>(prompts.at(0).t5.size()), device, control);
  };
  Outputs out;
  const auto prompt = encode("prompts"), negative = encode("negatives");
  put(out, "",
      {{"prompt_embeds", prompt.sequence},
       {"pooled", prompt.pooled},
       {"negative_prompt_embeds", negative.sequence},
       {"negative_pooled", negative.pooled}});
  out["prompt_embeds_t5len" + std::to_string(c.fact("second_t5_length").as_int())] =
      encode("prompts_second_length").sequence;

  const auto schedule =
      sampling_schedule(read_scheduler_config(c.folder + "scheduler/scheduler_config.json"), c.fact("steps").as_int());
  out["sigmas"] = as_tensor(schedule.sigmas);
  out["timesteps"] = as_tensor(schedule.timesteps);
  const Conditioning text{m.embed_text({prompt.sequence, prompt.pooled}),
                          m.embed_text({negative.sequence, negative.pooled})};
  const auto final_latents = denoise(m, c.in("initial_latents"), text, schedule, {c.fact("guidance").as_double()},
                                     control, [&](const StepView& s) {
                                       const auto i = std::to_string(s.index);
                                       out["velocity_uncond_step" + i] = s.velocity.unconditional;
                                       out["velocity_cond_step" + i] = s.velocity.conditional;
                                       out["latents_after_step" + i] = s.latents;
                                     });
  out["decoder_input"] = unscale_latents(v.config, final_latents);
  out["decoded_raw"] = decode(v, out["decoder_input"]);
  out["image"] = unit_range(out["decoded_raw"]);
  out["image_u8_nhwc"] = bytes_from_unit(out["image"]);
  out["final_latents_no_cfg"] = denoise(m, c.in("initial_latents"), {text.conditional, {}}, schedule, {1.0}, control);
  return out;
}

/// The folder of another case that this one builds on: made by the same run, it lies beside it.
std::string beside(const std::string& root, const std::string& name) {
  const auto folder = root + "/" + name;
  if (!std::ifstream(folder + "/case.json").good())
    throw Failure(Code::BadFile,
                  "needs the case " + name + " beside it (its weights and inputs), found none in " + root);
  return folder;
}

Sd3 mmdit_beside(const std::string& root) {
  const auto folder = beside(root, "mmdit");
  return load_transformer(folder + "/config.json", folder + "/diffusion_pytorch_model.safetensors");
}

Tensor run_with(const VelocityModel& m, const Case& c) {
  return m.velocity(c.in("latent"), c.in("timestep"), m.embed_text({c.in("context"), c.in("pooled")}));
}

Outputs check_lora(const Case& c, const std::string& root) {
  Outputs out;
  auto m = mmdit_beside(root);
  const auto layers = apply_lora(m, read_lora(c.folder + "adapter_model.safetensors"));
  auto adapters = lora_tensors(layers);
  for (auto& [name, t] : adapters) t.requires_grad_(true);
  out["out_on"] = run_with(m, c);
  const auto loss = out["out_on"].square().mean();
  loss.backward();
  out["loss"] = loss.reshape({1});
  for (auto& [name, t] : adapters) {
    out["grad." + name] = t.grad().defined() ? t.grad().clone() : at::zeros_like(t);
    t.requires_grad_(false);
  }
  const at::NoGradGuard no_grad;
  enable_lora(layers, false);
  out["out_off"] = run_with(m, c);
  enable_lora(layers, true);
  merge_lora(layers);
  out["out_merged"] = run_with(m, c);
  each_tensor(m, [&](const std::string& name, Tensor& t) { out["merged." + name] = t; });
  auto stated = mmdit_beside(root), unstated = mmdit_beside(root);
  apply_lora(stated, read_lora(c.folder + "pytorch_lora_weights.safetensors"));
  // Both spellings must give out_on; the second is judged by its distance to the first's stored value.
  const auto by_diffusers = run_with(stated, c);
  if ((by_diffusers - c.in("out_on")).abs().max().item<double>() >
      (out["out_on"] - c.in("out_on")).abs().max().item<double>())
    out["out_on"] = by_diffusers;
  apply_lora(unstated, read_lora(c.folder + "pytorch_lora_weights_no_metadata.safetensors"));
  out["out_no_metadata"] = run_with(unstated, c);
  return out;
}

Outputs check_optim(const Case& c, const std::string& root) {
  Outputs out;
  const Case lora(beside(root, "lora"));
  auto m = mmdit_beside(root);
  auto adapters = lora_tensors(apply_lora(m, read_lora(lora.folder + "adapter_model.safetensors")));
  for (auto& [name, t] : adapters) t.requires_grad_(true);
  AdamW adamw(adapters, {c.fact("lr").as_double()});
  const auto decay = c.fact("ema_decay").as_double();
  Ema constant(adapters, {decay, false}), warm(adapters, {decay, true});
  std::vector<Tensor> losses, norms;
  const auto steps = static_cast<int64_t>(c.fact("grad_norm_before_clip").items().size());
  for (int64_t step = 0; step <= steps; ++step) {
    const auto loss = c.fact("loss_scale").as_double() * (run_with(m, lora) - c.in("target")).square().mean();
    losses.push_back(loss.detach());
    if (step == steps) break;
    adamw.zero_gradients();
    loss.backward();
    norms.push_back(clip_gradients(adapters, 1.0));
    const auto at = "step" + std::to_string(step) + ".";
    for (const auto& [name, t] : adapters) out["clipped_grad_" + at + name] = t.grad().clone();
    adamw.step();
    constant.update();
    warm.update();
    for (const auto& [name, t] : adapters) out["param_after_" + at + name] = t.detach().clone();
  }
  out["loss"] = at::stack(losses);
  out["grad_norm_before_clip"] = at::stack(norms);
  for (const auto& [name, t] : adapters) out["param_final." + name] = t;
  for (const auto& [name, t] : adamw.state())
    out[name.substr(0, name.find('.')) + "_final" + name.substr(name.find('.'))] = t;
  for (const auto& [name, t] : constant.averages()) out["ema_constant_final." + name] = t;
  for (const auto& [name, t] : warm.averages()) out["ema_warmup_final." + name] = t;

  // The optimizer alone, from stored gradients.
  NamedTensors given;
  for (const auto& [name, info] : c.tensors())
    if (name.rfind("given.", 0) == 0 && info.find("role")->as_string() == "in" &&
        name.find(".grad") == std::string::npos)
      given.emplace_back(name, c.in(name).clone());
  AdamW alone(given, {0.05});
  std::vector<Tensor> given_norms;
  for (int64_t step = 0; c.has(given.at(0).first + ".grad" + std::to_string(step)); ++step) {
    for (auto& [name, t] : given) t.mutable_grad() = c.in(name + ".grad" + std::to_string(step)).clone();
    given_norms.push_back(clip_gradients(given, 1.0));
    alone.step();
    for (const auto& [name, t] : given) out[name + ".after_step" + std::to_string(step)] = t.clone();
  }
  for (const auto& [name, t] : alone.state())
    out[name.substr(name.find('.') + 1) + "." + name.substr(0, name.find('.'))] = t;
  out["given.grad_norm_before_clip"] = at::stack(given_norms);
  return out;
}

int run(int argc, char** argv) {
  if (argc > 2 && std::string(argv[1]) == "--device") {
    device = parse_device(argv[2]);
    at::globalContext().setAllowTF32CuDNN(false);  // of cuBLAS it is off by default
    argc -= 2, argv += 2;
  }
  if (argc < 3) {
    std::cerr << "usage: drm_parity [--device NAME] KIND CASE_DIR [ROOT] [TOKENS_JSON]\n";
    return 2;
  }
  const std::string kind = argv[1], dir = argv[2];
  const Case c(dir);
  if (Outputs out;
      check_reward_case(kind, c, out) || check_sampling_case(kind, c, out) || check_policy_case(kind, c, out))
    compare(c, out);
  else if (kind == "mmdit")
    compare(c, check_mmdit(c));
  else if (kind == "mmdit_sd35_naming") {
    // The same weights in another spelling must give the outputs stored beside the diffusers spelling.
    const std::string root = argc > 3 ? argv[3] : dir + "/..";
    const auto expected = c.fact("expected_outputs").as_string();
    const Case base(beside(root, expected.substr(0, expected.find('/'))));
    const at::NoGradGuard no_grad;
    std::string file;
    for (const auto& f : c.doc.find("files")->items())
      if (f.as_string().ends_with(".safetensors")) file = f.as_string();
    const auto weights = Weights::open({c.folder + file}, velocity_keys);
    Sd3 by_config(make_mmdit(read_mmdit_config(c.folder + "config.json")));
    Sd3 by_shape(make_mmdit(infer_mmdit_config(weights)));
    for (auto* m : {&by_config, &by_shape}) {
      load_velocity_model(*m, weights, at::kFloat, device);
      for (const auto& r : base.runs()) {
        Outputs out;
        put(out, r + ".", transformer_run(*m, base, r));
        compare(base, out, r + ".");
      }
    }
  } else if (kind == "vae")
    compare(c, check_vae(c));
  else if (kind == "clip_l" || kind == "clip_g")
    compare(c, check_clip(c));
  else if (kind == "t5")
    compare(c, check_t5(c));
  else if (kind == "lora")
    compare(c, check_lora(c, argc > 3 ? argv[3] : dir + "/.."));
  else if (kind == "optim")
    compare(c, check_optim(c, argc > 3 ? argv[3] : dir + "/.."));
  else if (kind == "scheduler")
    compare(c, check_scheduler(c));
  else if (kind == "pipeline")
    compare(c, check_pipeline(c, argc > 4 ? argv[4] : ""));
  else {
    std::cerr << "unknown kind " << kind << "\n";
    return 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 2;
  }
}
