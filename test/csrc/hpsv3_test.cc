// HPSv3 against transformers' Qwen2-VL and the authors' head (golden scorers), and at its real sizes by shapes alone.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "check.h"
#include "hpsv3_case.h"
#include "scorers/clip_vision.h"
#include "temporary_folder.h"

using namespace drm;
using test::GoldenScorer, test::config_of, test::golden_scorers;

namespace {

Hpsv3 load(const GoldenScorer& c, at::ScalarType dtype, const std::string& file = "") {
  auto m = make_hpsv3(config_of(c));
  load_hpsv3(m, Weights::open({file.empty() ? golden_scorers("hpsv3.safetensors") : file}, hpsv3_keys()), dtype,
             at::kCPU);
  return m;
}

/// What the case feeds the network: ids cut after the reward token.
struct Inputs {
  Tensor patches;
  std::vector<PatchGrid> grids;
  std::vector<std::vector<int64_t>> sequences;
  explicit Inputs(const GoldenScorer& c) : patches(c["pixel_values"]) {
    const auto grid = c["grid_thw"], ids = c["input_ids"], end = c["reward_index"];
    for (int64_t i = 0; i < grid.size(0); ++i) {
      grids.push_back({grid[i][1].item<int64_t>(), grid[i][2].item<int64_t>()});
      const auto row = ids[i].narrow(0, 0, end[i].item<int64_t>() + 1).contiguous();
      sequences.emplace_back(row.const_data_ptr<int64_t>(), row.const_data_ptr<int64_t>() + row.numel());
    }
  }
};

Tensor run(const Hpsv3& m, const Inputs& in, const Observer* observer = nullptr) {
  const at::NoGradGuard no_grad;
  return hpsv3_forward(m, in.patches, in.grids, in.sequences, observer);
}

double beyond(const GoldenScorer& c, const Tensor& got, const Tensor& want, const char* kind) {
  CHECK(got.sizes() == want.sizes());
  return ((got - want).abs() - c.rtol() * want.abs()).max().item<double>() / c.tolerance(kind);
}

void close(const GoldenScorer& c, const Tensor& got, const Tensor& want, const char* kind, const std::string& what) {
  const auto excess = beyond(c, got, want, kind);
  if (std::getenv("DRM_TEST_VERBOSE")) std::printf("  %s: error / tolerance %.4f\n", what.c_str(), excess);
  if (!(excess <= 1)) test::fail(__FILE__, __LINE__, what + ": " + std::to_string(excess) + " of its tolerance");
}

/// Up to the reward token: behind it ours has nothing.
void close_rows(const GoldenScorer& c, const Tensor& got, const Tensor& want, const Inputs& in,
                const std::string& what) {
  for (size_t b = 0; b < in.sequences.size(); ++b) {
    const auto length = static_cast<int64_t>(in.sequences[b].size());
    const auto row = [&](const Tensor& t) { return t[static_cast<int64_t>(b)].narrow(0, 0, length); };
    close(c, row(got), row(want), "features", what + " of row " + std::to_string(b));
  }
}

}  // namespace

TEST(inner_states_and_scores_equal_the_reference) {
  const GoldenScorer c("hpsv3");
  const Inputs in(c);
  std::map<std::string, Tensor> seen;
  const Observer see = [&](const std::string& name, const Tensor& t) { seen[name] = t; };
  const auto logits = run(load(c, at::kFloat), in, &see);
  close(c, seen["vision_tokens"], c["vision_tokens"], "features", "vision_tokens");
  close_rows(c, seen["inputs_embeds"], c["inputs_embeds"], in, "inputs_embeds");
  close_rows(c, seen["layer0"], c["layer0"], in, "layer0");
  close(c, seen["reward_hidden"], c["reward_hidden"], "features", "reward_hidden");
  close(c, logits, c["logits"], "score", "logits");
  close(c, logits.select(1, 0), c["mu"], "score", "mu");
  close(c, logits.select(1, 1).exp(), c["sigma"], "score", "sigma");
  // What known mistakes give is far away: positions in three dimensions, another GELU in the tower.
  CHECK(beyond(c, logits.select(1, 0), c["neg_mrope"], "score") > 10);
  CHECK(beyond(c, seen["vision_tokens"], c["neg_vision_gelu"], "features") > 10);
}

TEST(a_row_alone_gives_what_it_gives_beside_another) {
  const GoldenScorer c("hpsv3");
  const Inputs in(c);
  const auto m = load(c, at::kFloat);
  const auto together = run(m, in);
  int64_t from = 0;
  for (size_t b = 0; b < in.sequences.size(); ++b) {
    auto one = in;
    one.patches = in.patches.narrow(0, from, in.grids[b].patches());
    one.grids = {in.grids[b]};
    one.sequences = {in.sequences[b]};
    from += in.grids[b].patches();
    CHECK((run(m, one)[0] - together[static_cast<int64_t>(b)]).abs().max().item<double>() < 1e-5);
  }
}

TEST(matrices_in_16_bits_stay_in_the_file_and_compute_as_in_fp32) {
  const GoldenScorer c("hpsv3");
  const test::TemporaryFolder folder;
  std::vector<std::pair<std::string, Tensor>> rounded, widened;
  const auto file = SafetensorsFile::open(golden_scorers("hpsv3.safetensors"));
  for (const auto& [name, info] : file->tensors()) {
    const auto half = name.starts_with("rm_head.") ? file->load(name) : file->load(name, at::kBFloat16, at::kCPU);
    rounded.emplace_back(name, half);
    widened.emplace_back(name, half.to(at::kFloat));
  }
  save_safetensors(folder.file("bf16.safetensors"), rounded);
  save_safetensors(folder.file("fp32.safetensors"), widened);
  const auto small = load(c, at::kFloat, folder.file("bf16.safetensors"));
  CHECK(small.text.layers[0].gate.weight.scalar_type() == at::kBFloat16);
  CHECK(small.text.tokens.weight.scalar_type() == at::kBFloat16);
  CHECK(small.text.layers[0].q.bias.scalar_type() == at::kFloat && small.head[0].weight.scalar_type() == at::kFloat);
  const Inputs in(c);
  const auto exact = run(load(c, at::kFloat, folder.file("fp32.safetensors")), in);
  CHECK((run(small, in) - exact).abs().max().item<double>() < 1e-6);
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    const auto low = load(c, dtype, folder.file("bf16.safetensors"));
    CHECK(low.text.layers[0].gate.weight.scalar_type() == dtype);
    const auto got = run(low, in);
    CHECK(got.scalar_type() == at::kFloat);
    const auto error = (got - exact).abs().max().item<double>();
    CHECK(error > 0 && error < 0.1);
  }
}

TEST(patches_equal_the_processors) {
  const GoldenScorer c("pre");
  const auto stated = c.list("qwen").items();
  const Qwen2Pixels rule;
  int compared = 0;
  for (const auto& image : stated) {
    const auto size = image.find("image")->as_string(), name = "qwen_" + size;
    const auto& resized = image.find("resized")->items();
    const auto width = std::stoll(size), height = std::stoll(size.substr(size.find('x') + 1));
    const auto grid = qwen2_grid(height, width, rule);
    CHECK_EQ(grid.rows * rule.patch, resized[1].as_int());
    CHECK_EQ(grid.columns * rule.patch, resized[0].as_int());
    CHECK_EQ(grid.rows, c[name + "_grid"][1].item<int64_t>());
    CHECK_EQ(grid.columns, c[name + "_grid"][2].item<int64_t>());
    if (!image.find("u8_stored")->as_bool()) continue;
    const auto top = c[name + "_u8_top112"];  // the rows of blocks that are stored
    const auto patches = qwen2_patches(clip_pixels(top.unsqueeze(0)), rule);
    const auto rows = c[name + "_rows"], want = c[name + "_patches"];
    for (int64_t i = 0; i < rows.numel(); ++i) {
      const auto row = rows[i].item<int64_t>();
      if (row >= patches.size(0)) continue;
      CHECK((patches[row] - want[i]).abs().max().item<double>() <= c.tolerance("float"));
      ++compared;
    }
  }
  CHECK(compared >= 3);
}

TEST(sizes_equal_the_reference) {
  const GoldenScorer c("pre");
  const auto in = c["smart_resize_in"], want = c["smart_resize_out"];
  const Qwen2Pixels rule;
  for (int64_t i = 0; i < in.size(0); ++i) {
    const auto grid = qwen2_grid(in[i][0].item<int64_t>(), in[i][1].item<int64_t>(), rule);
    CHECK_EQ(grid.rows * rule.patch, want[i][0].item<int64_t>());
    CHECK_EQ(grid.columns * rule.patch, want[i][1].item<int64_t>());
  }
  CHECK_EQ(qwen2_grid(1, 200, rule).rows, 4);  // narrower than a block, and then half as high as wide blocks ask for
  EXPECT_FAILURE(BadRequest, ({"[qwen2-vl]", "at most 200 times", "201 x 1"}), qwen2_grid(1, 201, rule));
  EXPECT_FAILURE(BadRequest, ({"0 x 5"}), qwen2_grid(5, 0, rule));
}

namespace {

/// Bytes of the published file: all in bf16 but the head, and lm_head, which is in it and is not read.
int64_t published_bytes(Hpsv3& m) {
  int64_t bytes = 0;
  each_tensor(m, [&](const std::string& name, Tensor& t) { bytes += t.numel() * (name.starts_with("rm_") ? 4 : 2); });
  return bytes + 2 * m.text.tokens.weight.numel();
}

}  // namespace

TEST(the_published_shape_has_the_published_size) {
  auto m = make_hpsv3(read_hpsv3_config(test::shipped_config("hpsv3-7b")));
  CHECK(m.text.tokens.weight.is_meta());
  CHECK_EQ(m.text.tokens.weight.size(0), 151658);
  // By hand: patches 1,505,280; 32 blocks of 19,677,440; merger 44,575,744; table 543,542,272; 28 layers of
  // 233,057,792; norm 3,584; head 3,687,474.
  CHECK_EQ(size_of(m).parameters, 7'748'610'610);
  CHECK_EQ(size_of(m).tensors, 1 + 32 * 12 + 6 + 1 + 28 * 12 + 1 + 6);
  CHECK_EQ(published_bytes(m), 16'591'680'712);  // 16.59 GB
  std::map<std::string, std::vector<int64_t>> shapes;
  each_tensor(m, [&](const std::string& name, Tensor& t) { shapes[name] = t.sizes().vec(); });
  using Shape = std::vector<int64_t>;
  CHECK(shapes.at("visual.patch_embed.proj.weight") == (Shape{1280, 3, 2, 14, 14}));
  CHECK(shapes.at("visual.blocks.31.attn.qkv.weight") == (Shape{3840, 1280}));
  CHECK(shapes.at("visual.merger.mlp.2.weight") == (Shape{3584, 5120}));
  CHECK(shapes.at("model.layers.27.self_attn.k_proj.bias") == (Shape{512}));
  CHECK(shapes.at("model.layers.0.mlp.down_proj.weight") == (Shape{3584, 18944}));
  CHECK(shapes.at("rm_head.5.weight") == (Shape{2, 16}));
}

TEST(the_smaller_shape_is_that_of_qwen2_vl_2b) {
  auto m = make_hpsv3(read_hpsv3_config(test::shipped_config("hpsv3-2b")));
  // Tower and head as above but for widths of 1,536: merger 34,087,936 (2,560 + 26,219,520 + 7,865,856), layers of
  // 46,797,824, table 232,946,688, head 1,590,322.
  CHECK_EQ(size_of(m).parameters,
           1'505'280 + 32 * 19'677'440 + 34'087'936 + 232'946'688 + 28 * int64_t{46'797'824} + 1'536 + 1'590'322);
}

DRM_TEST_MAIN
