// The pipeline as the binding uses it, on the fixtures' small random pipeline.
#include "api/pipeline.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>

#include "api/prompt_chunks.h"
#include "check.h"
#include "device.h"
#include "temporary_folder.h"
#include "tensor_io/safetensors.h"

using namespace drm;
namespace fs = std::filesystem;

namespace {

const std::string kFolder = std::string(DRM_GOLDEN) + "/pipeline/";

PipelineSource fixture(const std::string& folder = kFolder) {
  const auto component = [&](const std::string& name, const char* file) {
    return ComponentFiles{folder + name + "/config.json", {folder + name + "/" + file}};
  };
  PipelineSource s;
  s.transformer = component("transformer", "diffusion_pytorch_model.safetensors");
  s.vae = component("vae", "diffusion_pytorch_model.safetensors");
  s.text_encoder = component("text_encoder", "model.safetensors");
  s.text_encoder_2 = component("text_encoder_2", "model.safetensors");
  s.text_encoder_3 = component("text_encoder_3", "model.safetensors");
  s.scheduler_config = folder + "scheduler/scheduler_config.json";
  return s;
}

using test::TemporaryFolder;

/// Padded ids as the fixture's tokenizers would give for an empty prompt.
PromptTokens tokens(int64_t first = 5, int64_t t5_length = 20, int64_t clip_length = 77) {
  PromptTokens t;
  t.clip_l.assign(clip_length, 1);
  t.clip_l[1] = first;
  t.clip_g = t.clip_l;
  t.t5.assign(t5_length, 0);
  t.t5[0] = 1;
  return t;
}

SampleRequest request(int64_t images = 1) {
  SampleRequest r;
  r.prompts = {tokens(5), tokens(9)};
  r.negatives = {tokens(1)};
  for (int64_t i = 0; i < images; ++i) r.images.push_back({i % 2, 0, static_cast<uint64_t>(i)});
  r.steps = 2;
  r.height = 32;
  r.width = 48;
  r.t5_length = 20;
  return r;
}

struct Seen {
  Control control;
  std::vector<Event> events;
  std::vector<std::string> phases;
  Seen() {
    control.on_event = [this](Event&& e) { events.push_back(std::move(e)); };
    control.on_progress = [this](const Progress& p) {
      if (phases.empty() || phases.back() != p.phase) phases.push_back(p.phase);
    };
  }
};

double number(const Event& e, const std::string& name) {
  for (const auto& [key, value] : e.fields)
    if (key == name) return std::get<double>(value);
  test::fail(__FILE__, __LINE__, "event lacks " + name);
}

std::shared_ptr<Pipeline> loaded() {
  Control c;
  // Never destroyed: at the end of the process the CUDA runtime may be gone before it.
  static const auto& pipeline = *new auto(Pipeline::load(fixture(), {test::device_name()}, c));
  return pipeline;
}

}  // namespace

TEST(info_describes_the_model) {
  const auto& i = loaded()->info();
  CHECK_EQ(i.device, test::device().str());
  CHECK_EQ(i.latent_channels, 16);
  CHECK_EQ(i.vae_factor, 8);
  CHECK(i.has_t5);
  CHECK(i.transformer_parameters > 0 && i.weight_bytes > 0);
}

TEST(images_arrive_in_order_with_their_size) {
  Seen seen;
  auto r = request(3);
  r.batch = 2;
  const auto s = loaded()->sample(r, seen.control);
  CHECK_EQ(s.images, 3);
  CHECK_EQ(s.batches, 2);
  CHECK_EQ(seen.events.size(), size_t{3});
  for (size_t i = 0; i < 3; ++i) {
    CHECK_EQ(seen.events[i].kind, std::string("image"));
    CHECK_EQ(number(seen.events[i], "index"), static_cast<double>(i));
    CHECK_EQ(seen.events[i].bytes.size(), size_t{32 * 48 * 3});
  }
  CHECK(seen.events[0].bytes != seen.events[1].bytes);
}

TEST(images_do_not_depend_on_the_batch) {
  Seen one, three;
  auto r = request(3);
  r.batch = 1;
  loaded()->sample(r, one.control);
  r.batch = 3;
  loaded()->sample(r, three.control);
  for (size_t i = 0; i < 3; ++i)
    for (size_t p = 0; p < one.events[i].bytes.size(); ++p)
      CHECK(std::abs(one.events[i].bytes[p] - three.events[i].bytes[p]) <= 1);
}

TEST(prompts_are_read_in_chunks_of_whole_batches) {
  const auto chunks_of = [](const std::vector<std::pair<int64_t, int64_t>>& texts, int64_t batch, int64_t most) {
    std::vector<ImageRequest> images;
    for (const auto& [prompt, negative] : texts) images.push_back({prompt, negative, 0});
    return prompt_chunks(images, batch, most);
  };
  // Two images each of five prompts, in batches of three: two prompts a batch.
  const auto c = chunks_of({{7, 0}, {7, 0}, {3, 0}, {3, 0}, {5, 0}, {5, 0}, {9, 0}, {9, 0}, {1, 0}, {1, 0}}, 3, 3);
  CHECK_EQ(c.size(), size_t{2});
  CHECK_EQ(c[0].begin, 0);
  CHECK_EQ(c[0].end, 6);
  CHECK_EQ(c[1].end, 10);
  CHECK(c[0].prompts.texts == std::vector<int64_t>({7, 3, 5}));
  CHECK(c[0].prompts.of == std::vector<int64_t>({0, 0, 1, 1, 2, 2}));
  CHECK(c[0].negatives.texts == std::vector<int64_t>({0}));
  CHECK(c[1].prompts.texts == std::vector<int64_t>({9, 1}));
  // Negative prompts count, too; and a batch that reads more than may be is a chunk of its own.
  CHECK_EQ(chunks_of({{0, 1}, {0, 2}, {0, 3}, {0, 4}}, 1, 2).size(), size_t{2});
  CHECK_EQ(chunks_of({{0, 0}, {1, 0}, {2, 0}, {3, 0}}, 4, 2).size(), size_t{1});
  CHECK_EQ(chunks_of({{0, 0}, {1, 0}, {2, 0}, {3, 0}}, 2, 1).size(), size_t{2});
  // However many there are, no more lie in memory at once.
  std::vector<std::pair<int64_t, int64_t>> many;
  for (int64_t i = 0; i < 2048; ++i) many.emplace_back(i, 2048 + i % 700);
  int64_t at = 0;
  for (const auto& chunk : chunks_of(many, 5, kPromptsInMemory)) {
    CHECK_EQ(chunk.begin, at);
    CHECK(chunk.prompts.texts.size() <= size_t{kPromptsInMemory});
    CHECK(chunk.negatives.texts.size() <= size_t{kPromptsInMemory});
    CHECK(chunk.end == 2048 || (chunk.end - chunk.begin) % 5 == 0);
    at = chunk.end;
  }
  CHECK_EQ(at, 2048);
}

TEST(images_of_many_prompts_are_those_of_each_alone) {
  SampleRequest r = request();
  r.prompts.clear();
  r.images.clear();
  r.height = r.width = 16;
  r.steps = 1;
  r.batch = 4;
  const int64_t count = 2 * kPromptsInMemory + 3;
  for (int64_t i = 0; i < count; ++i) {
    r.prompts.push_back(tokens(5 + i));
    r.images.push_back({count - 1 - i, 0, static_cast<uint64_t>(i)});
  }
  for (const bool free : {false, true}) {
    Seen seen;
    std::vector<std::pair<int64_t, int64_t>> encoded;
    seen.control.on_progress = [&](const Progress& p) {
      if (p.phase == "encode") encoded.emplace_back(p.step, p.total);
    };
    r.free_encoders = free;
    loaded()->sample(r, seen.control);
    CHECK_EQ(seen.events.size(), static_cast<size_t>(count));
    CHECK(encoded.back() == std::make_pair(int64_t{3}, int64_t{3}));
    for (const int64_t i : {int64_t{0}, kPromptsInMemory - 1, kPromptsInMemory, count - 1}) {
      auto one = r;
      one.images = {r.images[static_cast<size_t>(i)]};
      one.free_encoders = false;
      Seen alone;
      loaded()->sample(one, alone.control);
      const auto& image = seen.events[static_cast<size_t>(i)];
      CHECK_EQ(number(image, "index"), static_cast<double>(i));
      for (size_t p = 0; p < image.bytes.size(); ++p) CHECK(std::abs(image.bytes[p] - alone.events[0].bytes[p]) <= 1);
    }
  }
}

TEST(latents_are_saved_and_given_again) {
  TemporaryFolder folder;
  Seen first, second;
  auto r = request(2);
  r.save_latents = folder.file("final.safetensors");
  loaded()->sample(r, first.control);
  const auto saved = SafetensorsFile::open(r.save_latents)->load("latents");
  CHECK(saved.sizes() == at::IntArrayRef({2, 16, 4, 6}));
  CHECK(saved.scalar_type() == at::kFloat);

  // The seeds' own noise, given as a file, gives the same images.
  std::vector<at::Tensor> noise;
  for (uint64_t seed = 0; seed < 2; ++seed) {
    auto g = at::detail::createCPUGenerator(seed);
    noise.push_back(at::randn({1, 16, 4, 6}, g, at::TensorOptions()));
  }
  save_safetensors(folder.file("first.safetensors"), {{"x", at::cat(noise)}});
  r.init_latents = folder.file("first.safetensors");
  r.init_tensor = "x";
  loaded()->sample(r, second.control);
  CHECK(first.events[0].bytes == second.events[0].bytes);
  CHECK(first.events[1].bytes == second.events[1].bytes);

  r.init_tensor = "latents";
  EXPECT_FAILURE(BadFile, ({"latents", "found x"}), loaded()->sample(r, second.control));
  r.init_tensor = "x";
  r.width = 32;
  EXPECT_FAILURE(BadShape, ({"(2, 16, 4, 4)", "(2, 16, 4, 6)"}), loaded()->sample(r, second.control));
}

TEST(freed_encoders_come_back_when_needed) {
  Control c;
  const auto p = Pipeline::load(fixture(), {test::device_name()}, c);
  Seen first, second;
  auto r = request();
  r.free_encoders = true;
  p->sample(r, first.control);
  p->sample(r, second.control);
  CHECK(first.events[0].bytes == second.events[0].bytes);
}

TEST(previews_come_on_time) {
  Seen seen;
  auto r = request();
  r.steps = 5;
  r.preview_every = 2;
  loaded()->sample(r, seen.control);
  CHECK_EQ(seen.events.size(), size_t{3});
  CHECK_EQ(seen.events[0].kind, std::string("preview"));
  CHECK_EQ(number(seen.events[1], "step"), 4.0);
}

TEST(t5_may_be_absent) {
  auto source = fixture();
  source.text_encoder_3 = {};
  Control c;
  const auto p = Pipeline::load(source, {test::device_name()}, c);
  CHECK(!p->info().has_t5);
  Seen seen;
  auto r = request();
  for (auto* list : {&r.prompts, &r.negatives})
    for (auto& t : *list) t.t5.clear();
  p->sample(r, seen.control);
  r.t5_length = 0;  // not even zeros
  p->sample(r, seen.control);
  CHECK_EQ(seen.events.size(), size_t{2});
  CHECK(seen.events[0].bytes != seen.events[1].bytes);
}

TEST(prompts_say_themselves_how_long_clip_reads) {
  Seen seen;
  auto r = request();
  r.prompts = {tokens(5, 20, 24), tokens(9, 20, 24)};
  r.negatives = {tokens(1, 20, 24)};
  loaded()->sample(r, seen.control);
  CHECK_EQ(seen.events.size(), size_t{1});
  r.negatives = {tokens(1, 20, 25)};
  EXPECT_FAILURE(BadRequest, ({"negative", "24 CLIP", "25"}), loaded()->sample(r, seen.control));
  r.prompts = {tokens(5, 20, 78), tokens(9, 20, 78)};
  EXPECT_FAILURE(BadRequest, ({"1 to 77", "78", "model_max_length"}), loaded()->sample(r, seen.control));
  for (auto& p : r.prompts) p.clip_l.clear();
  EXPECT_FAILURE(BadRequest, ({"1 to 77", "found 0"}), loaded()->sample(r, seen.control));
}

TEST(bf16_runs_and_stays_near_fp32) {
  Control c;
  const auto p = Pipeline::load(fixture(), {test::device_name(), "bf16"}, c);
  Seen seen;
  p->sample(request(), seen.control);
  CHECK_EQ(seen.events.size(), size_t{1});
  CHECK_EQ(p->info().weight_bytes * 2, loaded()->info().weight_bytes);
}

TEST(fp16_runs_near_fp32_and_its_vae_and_t5s_output_layers_are_fp32) {
  Control c;
  TemporaryFolder folder;
  const auto p = Pipeline::load(fixture(), {"cpu", "fp16"}, c);
  const auto latents = [&](Pipeline& from, const std::string& name) {
    Seen seen;
    auto r = request();
    r.save_latents = folder.file(name);
    from.sample(r, seen.control);
    CHECK_EQ(seen.events.size(), size_t{1});
    return SafetensorsFile::open(r.save_latents)->load("latents");
  };
  const auto half = latents(*p, "half.safetensors"), exact = latents(*loaded(), "exact.safetensors");
  // Another first noise: it is drawn in fp16, as diffusers draws it.
  CHECK(at::isfinite(half).all().item<bool>());
  CHECK(half.sizes() == exact.sizes());
  const auto& whole = loaded()->info();
  CHECK(p->info().weight_bytes > whole.weight_bytes / 2 + 2 * whole.vae_parameters);
  CHECK(p->info().weight_bytes < whole.weight_bytes);
}

TEST(requests_that_make_no_sense_are_refused) {
  Seen seen;
  const auto refused = [&](auto change, std::vector<std::string> parts) {
    auto r = request();
    change(r);
    test::expect_failure(__FILE__, __LINE__, Code::BadRequest, parts, [&] { loaded()->sample(r, seen.control); });
  };
  refused([](auto& r) { r.steps = -4; }, {"steps", "-4"});
  refused([](auto& r) { r.height = 40; }, {"height", "multiple of 16", "40", "nearest"});
  refused([](auto& r) { r.width = -16; }, {"width", "-16"});
  refused([](auto& r) { r.width = 16384; }, {"width", "at most"});
  refused([](auto& r) { r.guidance = std::nan(""); }, {"guidance"});
  refused([](auto& r) { r.images.clear(); }, {"no images"});
  refused([](auto& r) { r.prompts[1].clip_l.resize(5); }, {"prompt 1", "77", "CLIP-L", "5"});
  refused([](auto& r) { r.prompts[0].clip_g.resize(5); }, {"prompt 0", "77", "CLIP-G", "5"});
  refused([](auto& r) { r.t5_length = 0; }, {"T5 length", "1 to 4096", "without T5"});
  refused([](auto& r) { r.prompts[0].clip_g[3] = 1 << 30; }, {"vocabulary"});
  refused([](auto& r) { r.skip_layers = SkipLayerGuidance{{99}}; }, {"skip layers", "99"});
  CHECK(seen.events.empty());
}

TEST(an_unwritable_place_is_found_before_the_work) {
  Seen seen;
  auto r = request();
  r.save_latents = "/nonexistent/folder/x.safetensors";
  EXPECT_FAILURE(Disk, ({"/nonexistent/folder/x.safetensors", "cannot be written"}), loaded()->sample(r, seen.control));
  CHECK(std::find(seen.phases.begin(), seen.phases.end(), "denoise") == seen.phases.end());
}

TEST(components_that_do_not_belong_together) {
  Control c;
  auto source = fixture();
  source.text_encoder_2 = source.text_encoder;
  EXPECT_FAILURE(BadConfig, ({"pooled", "another model"}), Pipeline::load(source, {}, c));
  source = fixture();
  source.vae.weights = {kFolder + "vae/missing.safetensors"};
  EXPECT_FAILURE(BadFile, ({"missing.safetensors"}), Pipeline::load(source, {}, c));
  EXPECT_FAILURE(Device, ({"device", "tpu"}), Pipeline::load(fixture(), {"tpu", "fp32"}, c));
  EXPECT_FAILURE(BadRequest, ({"dtype", "fp8"}), Pipeline::load(fixture(), {"cpu", "fp8"}, c));
}

TEST(another_scheduler_is_refused) {
  TemporaryFolder folder;
  std::ofstream(folder.file("scheduler_config.json")) << R"({"_class_name": "DDIMScheduler"})";
  auto source = fixture();
  source.scheduler_config = folder.file("scheduler_config.json");
  Control c;
  EXPECT_FAILURE(BadConfig, ({"_class_name", "FlowMatchEulerDiscreteScheduler", "DDIMScheduler"}),
                 Pipeline::load(source, {}, c));
}

TEST(cancelling_while_loading_and_sampling) {
  Control c;
  c.on_progress = [&](const Progress& p) {
    if (p.phase == "load") c.cancelled = true;
  };
  EXPECT_FAILURE(Cancelled, ({"cancelled"}), Pipeline::load(fixture(), {test::device_name()}, c));
  Seen seen;
  seen.control.on_progress = [&](const Progress& p) {
    if (p.phase == "denoise" && p.step == 1) seen.control.cancelled = true;
  };
  EXPECT_FAILURE(Cancelled, ({"cancelled"}), loaded()->sample(request(), seen.control));
}

DRM_TEST_MAIN
