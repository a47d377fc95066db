// The safetensors reader against strangers' files, and the writer.
#include "tensor_io/safetensors.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "check.h"

using namespace drm;
namespace fs = std::filesystem;

namespace {

struct TemporaryFolder {
  fs::path path = fs::temp_directory_path() / ("drm-safetensors-" + std::to_string(::getpid()));
  TemporaryFolder() { fs::create_directories(path); }
  ~TemporaryFolder() { fs::remove_all(path); }
  std::string file(const std::string& name) const { return (path / name).string(); }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path / name, std::ios::binary) << bytes;
    return file(name);
  }
};

std::string with_header(const std::string& header, size_t data) {
  std::string out(8, '\0');
  for (size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  out.append(header);
  out.append(data, 'x');
  return out;
}

std::string bytes_of(const std::string& path) {
  std::ostringstream s;
  s << std::ifstream(path, std::ios::binary).rdbuf();
  return s.str();
}

}  // namespace

TEST(what_is_written_is_read) {
  const TemporaryFolder folder;
  const std::vector<std::pair<std::string, at::Tensor>> tensors = {{"f", at::randn({3, 5})},
                                                                   {"scalar", at::tensor(2.5f)},
                                                                   {"empty", at::zeros({0, 4})},
                                                                   {"bf", at::randn({7}).to(at::kBFloat16)},
                                                                   {"i", at::arange(5)},
                                                                   {"b", at::tensor({1, 0}).to(at::kBool)},
                                                                   {"u\"\\\n", at::tensor({1, 2, 3}).to(at::kByte)}};
  save_safetensors(folder.file("a.safetensors"), tensors, {{"note", "a \"quoted\" text"}});
  const auto file = SafetensorsFile::open(folder.file("a.safetensors"));
  CHECK_EQ(file->tensors().size(), tensors.size());
  CHECK_EQ(file->metadata().at("note"), std::string("a \"quoted\" text"));
  std::vector<std::pair<std::string, at::Tensor>> again;
  for (const auto& [name, tensor] : tensors) {
    const auto loaded = file->load(name);
    CHECK(loaded.scalar_type() == tensor.scalar_type());
    CHECK(loaded.sizes() == tensor.sizes());
    CHECK(at::equal(loaded, tensor));
    again.emplace_back(name, loaded);
  }
  save_safetensors(folder.file("b.safetensors"), again, {{"note", "a \"quoted\" text"}});
  CHECK(bytes_of(folder.file("a.safetensors")) == bytes_of(folder.file("b.safetensors")));
  CHECK_EQ(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()),
           2);  // nothing temporary is left
}

TEST(loading_converts_floats_and_keeps_integers) {
  const TemporaryFolder folder;
  const auto f = at::randn({1000});
  save_safetensors(folder.file("a.safetensors"), {{"f", f}, {"i", at::arange(3)}});
  const auto file = SafetensorsFile::open(folder.file("a.safetensors"));
  CHECK(at::equal(file->load("f", at::kBFloat16, at::kCPU), f.to(at::kBFloat16)));
  CHECK(file->load("i", at::kBFloat16, at::kCPU).scalar_type() == at::kLong);
  EXPECT_FAILURE(BadFile, ({"a.safetensors", "nothere"}), file->load("nothere"));
}

TEST(malformed_files_are_refused_by_name) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& bytes, std::vector<std::string> parts) {
    const auto path = folder.write("bad.safetensors", bytes);
    parts.push_back("bad.safetensors");
    test::expect_failure(__FILE__, __LINE__, Code::BadFile, parts, [&] { SafetensorsFile::open(path); });
  };
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return "{\"t\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
  };
  refused("", {"0 bytes"});
  refused("abc", {"3 bytes"});
  refused(std::string(8, '\xff') + "{}", {"header"});
  refused(with_header("[]", 0), {"JSON object"});
  refused(with_header("{\"t\":1}", 0), {"t:", "dtype"});
  refused(with_header("{", 0), {"header"});
  refused(with_header(entry("F99", "[1]", "[0,4]"), 4), {"known dtype", "F99"});
  refused(with_header(entry("F32", "[-1]", "[0,4]"), 4), {"whole numbers"});
  refused(with_header(entry("F32", "[4611686018427387904,4]", "[0,4]"), 4), {"overflows"});
  refused(with_header(entry("F32", "[1]", "[4,0]"), 4), {"end before"});
  refused(with_header(entry("F32", "[2]", "[0,4]"), 4), {"expected 8 bytes", "found 4"});
  refused(with_header(entry("F32", "[1]", "[0,4]"), 2), {"2 are missing", "incomplete"});
  refused(with_header(entry("F32", "[1]", "[0,4]"), 9), {"expected 4 bytes", "found 9"});
  refused(with_header(entry("F32", "[1]", "[4,8]"), 8), {"hole"});
  refused(
      with_header(
          R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
          6),
      {"overlap"});
  refused(
      with_header(
          R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
          2),
      {"appears twice"});
  refused(with_header(R"({"__metadata__":{"a":1}})", 0), {"__metadata__"});
  refused("PK\x03\x04 and a zip", {"pickle"});
  refused("\x80\x02}q", {"pickle"});
  refused("version https://git-lfs.github.com/spec/v1\noid", {"Git LFS", "git lfs pull"});
  refused("<!DOCTYPE html><html>", {"web page"});
  EXPECT_FAILURE(BadFile, ({"missing.safetensors"}), SafetensorsFile::open(folder.file("missing.safetensors")));
  EXPECT_FAILURE(BadFile, ({"folder"}), SafetensorsFile::open(folder.path.string()));
}

TEST(a_header_length_may_begin_like_a_pickle) {
  // 0x80 is both a pickle's first byte and a header of 128, 384, ... bytes.
  const TemporaryFolder folder;
  std::string header = R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  header.append(128 - header.size(), ' ');
  CHECK_EQ(SafetensorsFile::open(folder.write("a.safetensors", with_header(header, 1)))->tensors().size(), size_t{1});
}

TEST(mutated_files_never_do_more_than_fail) {
  const TemporaryFolder folder;
  save_safetensors(folder.file("seed.safetensors"),
                   {{"a", at::randn({4, 3})}, {"b", at::arange(6)}, {"c", at::zeros({0})}}, {{"k", "v"}});
  std::vector<std::string> seeds = {bytes_of(folder.file("seed.safetensors"))};
  for (const auto& seed : fs::directory_iterator(fs::path(DRM_TEST_DATA) / "safetensors"))
    seeds.push_back(bytes_of(seed.path().string()));
  std::mt19937 random(7);
  int accepted = 0, refused = 0;
  for (int i = 0; i < 3000; ++i) {
    auto bytes = seeds[random() % seeds.size()];
    for (auto edits = 1 + random() % 4; edits-- && !bytes.empty();) switch (random() % 4) {
        case 0:
          bytes[random() % bytes.size()] = static_cast<char>(random());
          break;
        case 1:
          bytes.resize(random() % (bytes.size() + 1));
          break;
        case 2:
          bytes.insert(random() % bytes.size(), 1 + random() % 9, static_cast<char>(random()));
          break;
        case 3:
          bytes[random() % bytes.size()] ^= static_cast<char>(1 << random() % 8);
          break;
      }
    const auto path = folder.write("mutant.safetensors", bytes);
    try {
      const auto file = SafetensorsFile::open(path);
      for (const auto& [name, info] : file->tensors())
        CHECK_EQ(static_cast<uint64_t>(file->load(name).nbytes()), info.bytes());
      ++accepted;
    } catch (const Failure& f) {
      CHECK(f.code == Code::BadFile);
      ++refused;
    }
  }
  CHECK(accepted > 0 && refused > 0);
}

TEST(writing_where_one_may_not_leaves_nothing) {
  EXPECT_FAILURE(Disk, ({"/nonexistent/a.safetensors", "No such file"}),
                 save_safetensors("/nonexistent/a.safetensors", {{"t", at::zeros({1})}}));
  if (fs::exists("/dev/full")) {
    // A link beside which the temporary file can be made, but whose data cannot be written, is not to be had without
    // root; the writer's own error path for a full disk is reached by a folder in place of the file.
    const TemporaryFolder folder;
    fs::create_directories(folder.path / "taken.safetensors");
    EXPECT_FAILURE(Disk, ({"taken.safetensors"}),
                   save_safetensors(folder.file("taken.safetensors"), {{"t", at::zeros({1})}}));
    CHECK_EQ(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()), 1);
  }
}

TEST(a_checkpoint_of_full_size_is_planned_without_copying) {
  // SD3.5-Medium's 2.2 billion numbers in bf16, as a sparse file that takes no disk.
  const TemporaryFolder folder;
  std::vector<std::pair<std::string, TensorInfo>> tensors;
  for (int i = 0; i < 909; ++i) {
    std::string name("t");
    tensors.emplace_back(name.append(std::to_string(i)), TensorInfo{at::kBFloat16, {1536, 1607}});
  }
  const auto header = safetensors_header(tensors);
  const uint64_t data = 909ull * 1536 * 1607 * 2;
  const auto path = folder.write("full.safetensors", header);
  fs::resize_file(path, header.size() + data);
  const auto resident = [] {
    std::ifstream statm("/proc/self/statm");
    int64_t total = 0, pages = 0;
    statm >> total >> pages;
    return pages * 4096;
  };
  const auto before = resident();
  const auto file = SafetensorsFile::open(path);
  CHECK_EQ(file->tensors().size(), size_t{909});
  CHECK(resident() - before < 8 << 20);
}

DRM_TEST_MAIN
