// The safetensors reader against damaged and hostile files, and the writer.
#include "tensor_io/safetensors.h"

#include <ATen/ATen.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "check.h"
#include "temporary_folder.h"

using namespace drm;
namespace fs = std::filesystem;

namespace {

using test::TemporaryFolder;

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

TEST(valid_files_are_read_whatever_their_dtypes) {
  // As the reference library writes them; a dtype that libtorch or we lack matters only to who wants that tensor.
  const TemporaryFolder folder;
  const std::string header =
      R"({"__metadata__":null,"f":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
      R"("u16":{"dtype":"U16","shape":[2],"data_offsets":[4,8]},"u64":{"dtype":"U64","shape":[],"data_offsets":[8,16]},)"
      R"("f4":{"dtype":"F4","shape":[3,2],"data_offsets":[16,19]},"f6":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[19,22]},)"
      R"("c":{"dtype":"C64","shape":[1],"data_offsets":[22,30]},"e8":{"dtype":"F8_E8M0","shape":[1],"data_offsets":[30,31]},)"
      R"("fnuz":{"dtype":"F8_E4M3FNUZ","shape":[1],"data_offsets":[31,32]},)"
      R"("new":{"dtype":"F99","shape":[7],"data_offsets":[32,33],"extra":[{"a":null}]}})";
  const auto file = SafetensorsFile::open(folder.write("a.safetensors", with_header(header, 33)));
  CHECK_EQ(file->tensors().size(), size_t{9});
  CHECK(file->metadata().empty());
  CHECK_EQ(file->load("f").numel(), 1);
  CHECK_EQ(file->load("fnuz", at::kFloat, at::kCPU).scalar_type(), at::kFloat);
  for (const auto& [name, dtype] : std::vector<std::pair<std::string, std::string>>{{"u16", "U16"},
                                                                                    {"u64", "U64"},
                                                                                    {"f4", "F4"},
                                                                                    {"f6", "F6_E2M3"},
                                                                                    {"c", "C64"},
                                                                                    {"e8", "F8_E8M0"},
                                                                                    {"new", "F99"}}) {
    CHECK_EQ(file->tensors().at(name).dtype_name(), dtype);
    EXPECT_FAILURE(BadFile, ({"a.safetensors", name, dtype, "not supported"}), file->load(name));
    EXPECT_FAILURE(BadFile, ({"a.safetensors", name, dtype, "not supported"}), file->view(name));
  }
  // Sizes of less than a byte count, too.
  const auto refused = [&](const std::string& entry, const std::string& what) {
    const auto path = folder.write("bad.safetensors", with_header("{\"t\":{" + entry + "}}", 3));
    EXPECT_FAILURE(BadFile, ({"bad.safetensors", "t:", what}), SafetensorsFile::open(path));
  };
  refused(R"("dtype":"F4","shape":[3],"data_offsets":[0,2])", "a part of a byte");
  refused(R"("dtype":"F6_E3M2","shape":[4],"data_offsets":[0,2])", "expected 3 bytes");
  refused(R"("dtype":"U16","shape":[2],"data_offsets":[0,3])", "expected 4 bytes");
  refused(R"("dtype":"U8","dtype":"U8","shape":[3],"data_offsets":[0,3])", "expected dtype");
  refused(R"("dtype":"U8","shape":[3],"data_offsets":[0,3,3])", "expected dtype");
}

TEST(a_header_may_begin_with_spaces_and_its_length_like_a_pickle) {
  const TemporaryFolder folder;
  std::string header = R"( {"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  header.append(0x280 - header.size(), ' ');
  CHECK_EQ(SafetensorsFile::open(folder.write("a.safetensors", with_header(header, 1)))->tensors().size(), size_t{1});
}

TEST(a_headers_cost_is_a_small_multiple_of_its_size) {
  const TemporaryFolder folder;
  const auto peak = [] {  // kB
    std::ifstream status("/proc/self/status");
    std::string word;
    int64_t value = 0;
    while (status >> word)
      if (word == "VmHWM:") {
        status >> value;
        break;
      }
    return value;
  };
  const auto repeated = [](const std::string& part, size_t bytes) {
    std::string s;
    while (s.size() < bytes) s += part;
    return s;
  };
  constexpr size_t size = 8 << 20;
  std::string many = "{", texts = R"({"__metadata__":{)";
  for (int i = 0; many.size() < size; ++i)
    many.append("\"").append(std::to_string(i)).append(R"(":{"dtype":"U8","shape":[],"data_offsets":[0,1]},)");
  for (int i = 0; texts.size() < size; ++i) texts.append("\"").append(std::to_string(i)).append("\":\"\",");
  many.back() = texts.back() = '}';
  const std::vector<std::string> headers = {
      R"({"t":{"dtype":"U8","shape":[)" + repeated("1,", size) + R"(1],"data_offsets":[0,1]}})",
      R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":[)" + repeated("{},", size) + "1]}}", many,
      texts + "}"};
  for (const auto& header : headers) {
    const auto path = folder.write("a.safetensors", with_header(header, 1));
    std::ofstream("/proc/self/clear_refs") << 5;  // the peak begins again, where one may
    const auto before = peak();
    try {
      SafetensorsFile::open(path);
    } catch (const Failure& f) {
      CHECK(f.code == Code::BadFile);
    }
    const auto took = (peak() - before) * 1024 / static_cast<int64_t>(size);
    if (took > 20)
      test::fail(__FILE__, __LINE__, header.substr(0, 40) + " took " + std::to_string(took) + " times its size");
  }
}

TEST(what_the_system_refuses_is_not_the_files_fault) {
  const TemporaryFolder folder;
  const auto path = folder.write("big.safetensors", with_header("{}", 0));
  const auto with_limit = [](auto resource, rlim_t limit, const std::function<void()>& work) {
    rlimit before{};
    ::getrlimit(resource, &before);
    const rlimit now{limit, before.rlim_max};
    ::setrlimit(resource, &now);
    try {
      work();
    } catch (...) {
      ::setrlimit(resource, &before);
      throw;
    }
    ::setrlimit(resource, &before);
  };
  with_limit(RLIMIT_NOFILE, 0, [&] {
    EXPECT_FAILURE(Environment, ({"big.safetensors", "open no more files", "ulimit -n"}), SafetensorsFile::open(path));
  });
#ifndef __SANITIZE_ADDRESS__
  fs::resize_file(path, uint64_t{1} << 38);  // sparse
  with_limit(RLIMIT_AS, rlim_t{1} << 37, [&] {
    EXPECT_FAILURE(OutOfMemory, ({"big.safetensors", "Cannot allocate memory", "ulimit -v"}),
                   SafetensorsFile::open(path));
  });
#endif
  EXPECT_FAILURE(BadFile, ({"gone.safetensors", "No such file"}),
                 SafetensorsFile::open(folder.file("gone.safetensors")));
  EXPECT_FAILURE(BadFile, ({"x.safetensors", "Not a directory"}), SafetensorsFile::open(path + "/x.safetensors"));
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
