#include "mutate.h"

#include <algorithm>

#include "../csrc/stored_zip.h"
#include "tensor_io/zip.h"

namespace drm::fuzz {
namespace {

constexpr size_t kLongest = 1 << 16;

const std::vector<std::string>& words() {
  static const std::vector<std::string> all = {
      "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u0000", "\\ud83d", "null", "true", "false", "NaN", "-Infinity", "0", "-1",
      "1e999", "1.5", "9223372036854775807", "18446744073709551615", "[0,0]", "{}", "\xc3", "\xef\xbb\xbf", "\n",
      "\"dtype\":", "\"shape\":", "\"data_offsets\":", "\"__metadata__\":", "\"F32\"", "\"F8_E4M3\"", "\"BF16\"", "\"I64\"",
      "\"BOOL\"", "\"F4\"", "\"F6_E2M3\"", "\"U16\"", "\"C64\"", "\"F99\"", ".lora_A.weight", ".lora_B.weight", ".lora_A",
      ".lora_B.x.weight", ".lora_down.weight", ".lora_up.weight", ".alpha", ".dora_scale", ".hada_w1_a", ".processor.",
      "_lora.down.weight", "transformer.", "transformer_blocks.0.attn.to_q", "base_model.model.", "lora_unet_",
      "lora_transformer_", "lycoris_", "diffusion_model.", "joint_blocks.0.x_block.attn.qkv", "joint_blocks_0_", "final_layer.adaLN_modulation.1",
      "norm_out.linear", ".scale_weight", ".weight_scale", ".input_scale", "scaled_fp8", ".weight", ".bias",
      "model.diffusion_model.", "first_stage_model.", "decoder.up.1.", "mid.attn_1.q", "text_encoders.clip_l.transformer.",
      "transformer.resblocks.0.attn.in_proj_weight", "text_projection", "lora_adapter_metadata", "init_lora_weights",
      "alpha_pattern", "lora_alpha", "pissa", "loftq_config", "use_dora", "peft_type", "^", "\\\\.", "$", "(a+)+"};
  return all;
}

using Words = std::vector<std::string>;

/// Opcodes of pickles, and what stands beside them in checkpoints.
const Words& pickle_words() {
  static const Words all = {
      "(", ")", "t", "\x85", "\x86", "\x87", "]", "}", "l", "d", "a", "e", "s", "u", "N", "\x88", "\x89", "0", "1", "2", ".",
      "R", "b", "Q", "\x81", "\x93", "\x94", "\x8f", "\x90", "\x91", "i", "o", "I0\n", "K\x01", "M\xff\xff", "J\xff\xff\xff\x7f",
      "J\xff\xff\xff\xff", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "\x8a\x01\xff", "\x8b\x01\x02\x03\x04", "h\x01",
      "q\x01", "h\x02", "j\x05\x05\x05\x05", "r\xff\xff\xff\xff", "U\x01""0", "\x8c\x01""1", "X\xff\xff\xff\xff", "\x8d", "\x8e",
      "\x95", "\x96", "G", "\x80\x02", "\x80\x05", "\xff", "ctorch\nFloatStorage\n", "ctorch\nLongStorage\n",
      "ctorch.storage\nUntypedStorage\n", "ctorch\nfloat8_e4m3fn\n", "ctorch\nComplexDoubleStorage\n",
      "ccollections\nOrderedDict\n", "ctorch._utils\n_rebuild_tensor\n", "ctorch._utils\n_rebuild_tensor_v2\n",
      "ctorch._utils\n_rebuild_tensor_v3\n", "ctorch._utils\n_rebuild_parameter\n", "ctorch.nn.parameter\nParameter\n",
      "cbuiltins\nset\n", "cposix\nsystem\n", "U\x07storage", "\x8c\x07storage", "\x8c\x0astate_dict",
      "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", "M\xe9\x03", "little", "big", "PK\x03\x04", "PK\x01\x02", "PK\x05\x06",
      "PK\x06\x06", "PK\x06\x07", "PK\x07\x08"};
  return all;
}

void change(std::string& text, const std::vector<std::string>& others, const Words& words, Dice& dice) {
  const auto at = dice.below(text.size() + 1);
  const auto length = std::min(text.size() - at, dice.below(dice.one_in(4) ? 256 : 16));
  switch (dice.below(9)) {
    case 0:
      if (at < text.size()) text[at] = static_cast<char>(dice.word());
      break;
    case 1:
      if (at < text.size()) text[at] ^= static_cast<char>(1 << dice.below(8));
      break;
    case 2:
      text.erase(at, length);
      break;
    case 3:
      text.insert(at, text.substr(at, length));
      break;
    case 4:
      text.insert(at, dice.of(words));
      break;
    case 5:
      text.replace(at, length, dice.of(words));
      break;
    case 6: {  // a number becomes another
      const auto first = text.find_first_of("0123456789", at);
      if (first == std::string::npos) break;
      const auto last = text.find_first_not_of("0123456789", first);
      text.replace(first, last - first, dice.one_in(4) ? dice.of(words) : std::to_string(dice.below(40)));
      break;
    }
    case 7: {
      const auto& other = dice.of(others);
      const auto from = dice.below(other.size() + 1);
      text.insert(at, other.substr(from, dice.below(128)));
      break;
    }
    case 8:  // many of a kind
      for (auto n = dice.below(64); n-- > 0 && text.size() < kLongest;) text.insert(at, text.substr(at, length));
      break;
  }
  if (text.size() > kLongest) text.resize(kLongest);
}

uint64_t length_in(const std::string& file) {
  uint64_t length = 0;
  for (size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(file[i]);
  return length;
}

}  // namespace

std::string mutate_text(std::string text, const std::vector<std::string>& others, Dice& dice) {
  for (auto changes = 1 + dice.below(4); changes-- > 0;) change(text, others, words(), dice);
  return text;
}

std::string mutate_safetensors(const std::string& file, const std::vector<std::string>& others, Dice& dice) {
  if (file.size() < 8 || length_in(file) > file.size() - 8 || dice.one_in(8)) return mutate_text(file, others, dice);
  auto header = file.substr(8, length_in(file)), data = file.substr(8 + header.size());
  if (dice.one_in(4) && !data.empty())
    data[dice.below(data.size())] = static_cast<char>(dice.one_in(2) ? 0xff : dice.word());
  else
    header = mutate_text(header, others, dice);
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> 8 * i & 0xff);
  return length + header + data;
}

std::string mutate_pickle(const std::string& file, const std::vector<std::string>& others, Dice& dice) {
  const auto mutated = [&](std::string bytes) {
    for (auto changes = 1 + dice.below(4); changes-- > 0;) change(bytes, others, pickle_words(), dice);
    return bytes;
  };
  if (!file.starts_with("PK") || dice.one_in(4)) return mutated(file);
  const ZipArchive zip(file, "seed");
  std::vector<std::pair<std::string, std::string>> members;
  for (const auto& [name, member] : zip.members()) {
    std::string bytes(zip.bytes_of(name));
    const bool is_program = name.ends_with("data.pkl");
    if (is_program || dice.one_in(32)) bytes = mutated(bytes);
    if (!dice.one_in(64)) members.emplace_back(name, bytes);
  }
  return test::stored_zip(members, {.zip64 = dice.one_in(4), .descriptor = dice.one_in(4)});
}

}  // namespace drm::fuzz
