#include "vae/vae_keys.h"

#include <map>

namespace drm {
namespace {

using Form = Source::Form;

/// `levels` is the number of resolutions (LDM's decoder counts them from the other end).
std::vector<Translated> translate_ldm_vae(const std::string& key, const std::string& prefix, int64_t levels) {
  if (key.rfind(prefix, 0) != 0) return {};
  const auto name = key.substr(prefix.size());
  const auto whole = [&](const std::string& ours, Form form = Form::Whole) {
    return std::vector<Translated>{{ours, {key, form}}};
  };
  if (name.rfind("quant_conv.", 0) == 0 || name.rfind("post_quant_conv.", 0) == 0) return whole(name);
  const bool encoder = name.rfind("encoder.", 0) == 0;
  if (!encoder && name.rfind("decoder.", 0) != 0) return {};
  const std::string side = encoder ? "encoder." : "decoder.";
  const auto rest = name.substr(side.size());
  const auto resnet = [](std::string tail) {
    if (tail.rfind("nin_shortcut", 0) == 0) tail.replace(0, std::string("nin_shortcut").size(), "conv_shortcut");
    return tail;
  };
  if (const auto level = numbered(rest, encoder ? "down." : "up.")) {
    const auto index = encoder ? level->first : levels - 1 - level->first;
    const auto block = side + (encoder ? "down_blocks." : "up_blocks.") + std::to_string(index) + ".";
    if (const auto r = numbered(level->second, "block."))
      return whole(block + "resnets." + std::to_string(r->first) + "." + resnet(r->second));
    if (level->second.rfind("downsample.", 0) == 0) return whole(block + "downsamplers.0." + level->second.substr(11));
    if (level->second.rfind("upsample.", 0) == 0) return whole(block + "upsamplers.0." + level->second.substr(9));
    return {};
  }
  for (const auto& [theirs, ours] :
       {std::pair("mid.block_1.", "mid_block.resnets.0."), std::pair("mid.block_2.", "mid_block.resnets.1.")})
    if (rest.rfind(theirs, 0) == 0) return whole(side + ours + resnet(rest.substr(std::string(theirs).size())));
  if (rest.rfind("mid.attn_1.", 0) == 0) {
    const auto [stem, parameter] = stem_and_parameter(rest.substr(11));
    static const std::map<std::string, std::string> names = {
        {"norm", "group_norm"}, {"q", "to_q"}, {"k", "to_k"}, {"v", "to_v"}, {"proj_out", "to_out.0"}};
    const auto it = names.find(stem);
    if (it == names.end()) return {};
    return whole(side + "mid_block.attentions.0." + it->second + parameter,
                 stem != "norm" && parameter == ".weight" ? Form::Squeezed : Form::Whole);
  }
  if (rest.rfind("norm_out.", 0) == 0) return whole(side + "conv_" + rest);
  if (rest.rfind("conv_in.", 0) == 0 || rest.rfind("conv_out.", 0) == 0) return whole(name);
  return {};
}

/// Attention of the VAE as older diffusers wrote it.
void modernise_vae_attention(KeyReading& r) {
  for (auto& t : r.tensors)
    for (const auto& [old, ours] : {std::pair(".query.", ".to_q."), std::pair(".key.", ".to_k."),
                                    std::pair(".value.", ".to_v."), std::pair(".proj_attn.", ".to_out.0.")}) {
      const auto at = t.key.find(old);
      if (t.key.find(".attentions.") != std::string::npos && at != std::string::npos)
        t.key.replace(at, std::string(old).size(), ours);
    }
}

}  // namespace

KeyReading vae_keys(const std::vector<std::string>& names) {
  for (const std::string prefix : {kSingleFileVae, "vae.", ""})
    if (any_starts(names, prefix + "decoder.up.")) {
      const auto levels = count_numbered(names, prefix + "decoder.up.");
      return translated_keys(names, prefix, "ldm",
                             [&](const std::string& name) { return translate_ldm_vae(name, prefix, levels); });
    }
  auto r = plain_keys(names, "", "diffusers");
  modernise_vae_attention(r);
  return r;
}

}  // namespace drm
