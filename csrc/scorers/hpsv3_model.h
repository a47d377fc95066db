// HPSv3 (Ma et al. 2025): Qwen2-VL reads an image and an instruction with the prompt, and a small head reads from its
// hidden state at a token of its own how good the image is, and how sure that is.
// Shapes: B sequences, L tokens, D width.
#pragma once
#include <array>

#include "scorers/qwen2_vision.h"
#include "text/qwen2.h"

namespace drm {

struct Hpsv3Config {
  Qwen2Config text;
  Qwen2VisionConfig vision;
  std::array<int64_t, 2> head = {1024, 16};  // widths of the head's hidden layers
  int64_t image_token_id = 151655, reward_token_id = 151657;
};

/// Reads a transformers Qwen2VLConfig, with the decoder's fields at its top or in a text_config, and of our own
/// `reward_token_id` and `reward_head_sizes`. Throws Failure(BadConfig | BadFile).
Hpsv3Config read_hpsv3_config(const std::string& path);

struct Hpsv3 {
  Hpsv3Config config;
  Qwen2Vision vision;
  Qwen2 text;
  std::array<Linear, 3> head;  // D -> 1024 -> 16 -> 2, ReLU between them, fp32
};

Hpsv3 make_hpsv3(const Hpsv3Config& config);

/// transformers' names of Qwen2-VL, those of its later versions, too, and rm_head.
KeyReader hpsv3_keys();
/// What load_hpsv3() loads: matrices stay in the file where they can, the table of embeddings in any case on the CPU,
/// since few of its rows are read; the head is fp32.
std::vector<WantedTensor> wanted_hpsv3(Hpsv3& m);
/// The vocabulary is as large as the file's, whatever the config says: it was resized to its tokenizer. lm_head is not
/// read. Throws Failure(KeysMismatch | BadFile | BadConfig).
void load_hpsv3(Hpsv3& m, const Weights& weights, at::ScalarType dtype, at::Device device,
                const std::function<void(uint64_t, uint64_t)>& progress = {});

/// A prompt's ids as the network reads them: its one image token as many times as the image has blocks of patches, and
/// nothing after the reward token, which nothing before it sees. Throws Failure(BadRequest) naming the prompt.
std::vector<int64_t> hpsv3_sequence(const Hpsv3Config& c, const std::vector<int64_t>& ids, int64_t image_tokens,
                                    int64_t prompt);

/// Images' patches one after the other, their grids, and a sequence from hpsv3_sequence() for each -> (B, 2), fp32: mu
/// and log sigma. Observer names: "vision_tokens", "inputs_embeds", "layer<i>", "reward_hidden", and those of the
/// tower. Sequences are padded on the right, where no token before looks.
Tensor hpsv3_forward(const Hpsv3& m, const Tensor& patches, const std::vector<PatchGrid>& grids,
                     const std::vector<std::vector<int64_t>>& sequences, const Observer* observer = nullptr);

template <class V>
void each(Hpsv3& m, V&& visit) {
  each(m.vision, "visual.", visit);
  each(m.text, "model.", visit);
  // Dropout and ReLU have numbers, too, in the reference's sequence.
  visit("rm_head.0", m.head[0]);
  visit("rm_head.3", m.head[1]);
  visit("rm_head.5", m.head[2]);
}

}  // namespace drm
