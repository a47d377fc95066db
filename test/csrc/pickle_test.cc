// Checkpoints of torch.save: what PyTorch wrote is read to the bit, what could run code or is damaged is refused.
// data/pickle/make.py wrote the files.
#include <ATen/ATen.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "check.h"
#include "stored_zip.h"
#include "temporary_folder.h"
#include "tensor_io/pickle_file.h"
#include "tensor_io/safetensors.h"
#include "tensor_io/weights.h"

using namespace drm;
using test::number;
using test::stored_zip;
using test::TemporaryFolder;

namespace {

using namespace std::string_literals;

std::string data(const std::string& name) { return std::string(DRM_TEST_DATA) + "/pickle/" + name; }

std::string bytes_of(const std::string& path) {
  std::ostringstream s;
  s << std::ifstream(path, std::ios::binary).rdbuf();
  return s.str();
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && a.is_contiguous() && b.is_contiguous() &&
         (a.numel() == 0 || std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0);
}

/// All of the twin's tensors, in the file's own dtype, converted, and as views.
void expect_twin(const TensorFile& file, const std::string& twin) {
  const auto want = SafetensorsFile::open(data(twin));
  for (const auto& [name, info] : want->tensors()) {
    if (!file.tensors().count(name)) test::fail(__FILE__, __LINE__, name + " is missing in " + file.path());
    CHECK(file.tensors().at(name).shape == info.shape);
    if (!same_bits(file.load(name), want->load(name)) || !same_bits(file.view(name).contiguous(), want->load(name)) ||
        !same_bits(file.load(name, at::kFloat, at::kCPU), want->load(name, at::kFloat, at::kCPU)))
      test::fail(__FILE__, __LINE__, name + " differs in " + file.path());
  }
}

// Pickles by hand.
std::string text(const std::string& s) { return "X"s + number(s.size(), 4) + s; }
std::string integer(int64_t i) { return "\x8a\x08"s + number(static_cast<uint64_t>(i), 8); }
std::string tuple(const std::vector<int64_t>& numbers) {
  std::string out = "(";
  for (const auto i : numbers) out += integer(i);
  return out + "t";
}
std::string storage(int64_t count, const std::string& key = "0", const std::string& kind = "FloatStorage") {
  return "("s + text("storage") + "ctorch\n" + kind + "\n"s + text(key) + text("cpu") + integer(count) + "tQ";
}
std::string tensor(const std::string& stored, int64_t offset, const std::vector<int64_t>& shape,
                   const std::vector<int64_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + stored + integer(offset) + tuple(shape) + tuple(strides) + "\x89}tR";
}
std::string program(const std::string& object) { return "\x80\x02" + object + "."; }
std::string dict(const std::string& value) { return program("}"s + text("t") + value + "s"); }

std::string checkpoint(const std::string& pickle, const std::string& floats = std::string(24, '\0'),
                       const test::ZipForm& form = {}) {
  return stored_zip({{"a/data.pkl", pickle}, {"a/byteorder", "little"}, {"a/data/0", floats}, {"a/version", "3\n"}},
                    form);
}

std::string stream(const std::string& object, const std::string& storages, const std::string& keys = text("0") + "a") {
  const std::string magic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  return program(magic) + program("M"s + number(1001, 2)) + program("}"s + text("little_endian") + "\x88s") + object +
         program("]" + keys) + storages;
}

void refused(const std::string& bytes, std::vector<std::string> parts) {
  parts.push_back("[load] f.pt: ");
  test::expect_failure(__FILE__, __LINE__, Code::BadFile, parts, [&] { PickleFile::read(bytes, "f.pt"); });
}

KeyReading plain(const std::vector<std::string>& names) { return plain_keys(names, "", "plain"); }

}  // namespace

TEST(what_pytorch_wrote_is_read_to_the_bit) {
  for (const char* name : {"zip_protocol2.pt", "zip_protocol3.pt", "zip_protocol4.pt", "zip_protocol5.pt",
                           "zip_without_checksums.pt", "stream_protocol2.pt", "stream_protocol4.pt"}) {
    const auto file = PickleFile::open(data(name));
    CHECK_EQ(file->tensors().size(), size_t{25});
    expect_twin(*file, "tensors.safetensors");
  }
}

TEST(views_keep_their_storage_and_strides) {
  const auto file = PickleFile::open(data("zip_protocol2.pt"));
  CHECK(file->tensors().at("f32").strides.empty());
  CHECK((file->tensors().at("transposed").strides == std::vector<int64_t>{1, 5}));
  CHECK((file->tensors().at("repeated").strides == std::vector<int64_t>{0, 1}));
  const auto whole = file->view("whole"), tail = file->view("tail");
  CHECK(whole.is_alias_of(file->view("whole")) || whole.const_data_ptr() == file->view("whole").const_data_ptr());
  CHECK(static_cast<const int64_t*>(tail.const_data_ptr()) == static_cast<const int64_t*>(whole.const_data_ptr()) + 8);
}

TEST(a_state_dict_among_other_things) {
  for (const char* name : {"trained_zip.pt", "trained_stream.pt"}) {
    const auto file = PickleFile::open(data(name));
    CHECK_EQ(file->tensors().size(), size_t{9});
    expect_twin(*file, "trained.safetensors");
  }
}

TEST(files_of_the_first_pytorch) { expect_twin(*PickleFile::open(data("old_stream.pth")), "old.safetensors"); }

TEST(dtypes_without_a_storage_of_their_own) {
  const auto file = PickleFile::open(data("untyped.pt"));
  expect_twin(*file, "untyped.safetensors");
  CHECK_EQ(file->tensors().at("u16").dtype_name(), std::string("U16"));
  EXPECT_FAILURE(BadFile, ({"untyped.pt", "complex", "C64", "not supported"}), file->load("complex"));
}

TEST(code_is_refused_by_name) {
  const auto refuses = [](const char* name, std::vector<std::string> parts) {
    parts.push_back(name);
    return test::expect_failure(__FILE__, __LINE__, Code::BadFile, parts, [&] { PickleFile::open(data(name)); });
  };
  const auto message = refuses("refused_module_zip.pth", {"expected plain tensors", "the class mps.CLIPModel"});
  CHECK(message.find("weights_only=False") != std::string::npos);
  CHECK(message.find("'"s + data("refused_module_zip.pth") + "' '"s + data("refused_module_zip.safetensors") + "'") !=
        std::string::npos);
  refuses("refused_module_stream.pth", {"the class mps.CLIPModel"});
  refuses("refused_system.pt", {"the function posix.system", "can run code"});
  refuses("refused_numpy.pt", {"the function numpy._core.multiarray._reconstruct"});
  refuses("refused_negated.pt", {"negated"});
  refuses("refused_sparse.pt", {"the function torch._utils._rebuild_sparse_tensor"});
  refuses("refused_script.pt", {"TorchScript", "torch.jit.load"});
  refuses("refused_plain_pickle.pkl", {"the function torch.storage._load_from_bytes"});
  refused(checkpoint(program("(cos\nsystem\no")), {"the function os.system"});
  refused(checkpoint(program("(ios\nsystem\n")), {"the opcode INST"});
  refused(checkpoint(program("I1\n")), {"the opcode INT of protocol 0"});
  refused(checkpoint(program("cbuiltins\neval\n")), {"the function builtins.eval"});
  refused(checkpoint(program(text("torch._utils") + text("\x1b[2J\n") + "\x93")), {"the function torch._utils.?[2J?"});
  refused(checkpoint(program("ctorch\nload\n")), {"the function torch.load"});
}

TEST(weights_take_pickles_only_where_they_are_asked_for) {
  const auto weights = Weights::open({data("trained_zip.pt")}, plain, Pickles::Read);
  const auto twin = Weights::open({data("trained.safetensors")}, plain, Pickles::Read);
  CHECK_EQ(weights.entries().size(), twin.entries().size());
  for (const auto& [key, entry] : twin.entries())
    CHECK(same_bits(weights.entries().at(key).load(at::kFloat, at::kCPU), entry.load(at::kFloat, at::kCPU)));
  EXPECT_FAILURE(BadFile, ({"trained_zip.pt", "expected a safetensors file", "pickle"}),
                 Weights::open({data("trained_zip.pt")}, plain));
  EXPECT_FAILURE(BadFile, ({"gone.pt", "No such file"}), Weights::open({data("gone.pt")}, plain, Pickles::Read));
  const TemporaryFolder folder;
  EXPECT_FAILURE(BadFile, ({"page.pt", "web page"}),
                 Weights::open({folder.write("page.pt", "<!DOCTYPE html>")}, plain, Pickles::Read));
}

TEST(a_file_is_known_by_its_bytes) {
  CHECK(PickleFile::recognises(bytes_of(data("zip_protocol2.pt"))));
  CHECK(PickleFile::recognises(bytes_of(data("stream_protocol4.pt"))));
  CHECK(!PickleFile::recognises(bytes_of(data("tensors.safetensors"))));
  CHECK(!PickleFile::recognises(""));
  // A safetensors header of 640 bytes begins as a pickle of protocol 2.
  CHECK(!PickleFile::recognises(number(640, 8) + std::string(640, ' ')));
  CHECK(PickleFile::recognises(number(640, 8) + std::string(639, ' ')));
}

TEST(zips_of_other_writers) {
  std::string floats;
  for (const float f : {1.f, -2.f, 3.f, 4.f, 5.f, 6.f}) floats.append(reinterpret_cast<const char*>(&f), sizeof f);
  const auto pickle = dict(tensor(storage(6), 0, {2, 3}, {3, 1}));
  const auto want = at::tensor({1.f, -2.f, 3.f, 4.f, 5.f, 6.f}).view({2, 3});
  for (const bool zip64 : {false, true})
    for (const bool descriptor : {false, true}) {
      const auto bytes = checkpoint(pickle, floats, {zip64, descriptor});
      CHECK(at::equal(PickleFile::read(bytes, "f.pt")->load("t"), want));
      CHECK(at::equal(
          PickleFile::read(bytes.substr(0, bytes.size() - 2) + number(9, 2) + "a comment", "f.pt")->load("t"), want));
    }
  refused(checkpoint(pickle, floats, {.method = 8}), {"a/byteorder", "compressed (method 8)", "torch.save"});
  refused(checkpoint(pickle, floats, {.flags = 1}), {"encrypted"});
  refused(stored_zip({{"a.txt", "x"}}), {"zip of other files"});
  refused(stored_zip({{"a/data.pkl", pickle}, {"b/data.pkl", pickle}}), {"several"});
  refused(stored_zip({{"a/data.pkl", pickle}, {"a/data.pkl", pickle}}), {"a/data.pkl", "twice"});
  refused(stored_zip({{"a/data.pkl", pickle}}), {"a/data/0", "no such member"});
  refused(stored_zip({{"a/data.pkl", pickle}, {"a/byteorder", "big"}}), {"big-endian"});
  refused(stored_zip({{"a/data.pkl", pickle}, {"a/version", "11\n"}}), {"version", "11"});
  refused(stored_zip({{"a/data.pkl", pickle}, {"a/version", "x"}}), {"version", "x"});
  refused(checkpoint(pickle + "x", floats), {"expected a pickle of"});
  refused(checkpoint(pickle, floats + "1234"), {"t: expected a storage of 6 x 4 bytes, found 28 bytes"});
  auto flipped = checkpoint(pickle, floats);
  flipped[flipped.find("storage")] ^= 1;
  refused(flipped, {"a/data.pkl", "checksum"});
}

TEST(tensors_stay_inside_their_storage) {
  const auto refuses = [](int64_t offset, const std::vector<int64_t>& shape, const std::vector<int64_t>& strides,
                          const std::vector<std::string>& parts) {
    refused(checkpoint(dict(tensor(storage(6), offset, shape, strides))), parts);
    refused(stream(dict(tensor(storage(6), offset, shape, strides)), number(6, 8) + std::string(24, '\0')), parts);
  };
  refuses(1, {2, 3}, {3, 1}, {"t: expected its elements inside its storage of 6, found one at 6"});
  refuses(0, {2, 3}, {4, 1}, {"found one at 6"});
  refuses(0, {4}, {2}, {"found one at 6"});
  refuses(INT64_MAX, {1}, {1}, {"inside its storage"});
  refuses(0, {3}, {INT64_MAX}, {"inside its storage"});
  refuses(INT64_MAX, {2, 3}, {INT64_MAX, INT64_MAX}, {"far outside"});
  refuses(0, {INT64_MAX, 4}, {0, 0}, {"overflows"});
  refuses(0, {0, INT64_MAX, 4}, {0, 0, 0}, {"overflows"});
  refuses(0, {1 << 20, 1 << 20}, {0, 0}, {"no larger than the file"});
  refuses(0, {-1}, {1}, {"shape", "-1"});
  refuses(0, {1}, {-1}, {"strides", "-1"});
  refuses(-1, {1}, {1}, {"offset", "-1"});
  refuses(0, {1, 1}, {1}, {"a stride for each side"});
  refuses(0, std::vector<int64_t>(65, 1), std::vector<int64_t>(65, 1), {"shape", "65"});
  refused(checkpoint(dict(tensor(storage(INT64_MAX), 0, {1}, {1}))), {"a storage of 9223372036854775807 x 4 bytes"});
  refused(checkpoint(dict(tensor(storage(-1), 0, {1}, {1}))), {"size of a storage", "-1"});
  // An empty tensor may stand anywhere, and looks at nothing.
  const auto bytes = checkpoint(dict(tensor(storage(6), 1000, {0, 3}, {3, 1})));
  CHECK_EQ(PickleFile::read(bytes, "f.pt")->load("t").numel(), int64_t{0});
}

TEST(streams_are_checked) {
  const auto object = dict(tensor(storage(6), 0, {6}, {1}));
  const auto floats = number(6, 8) + std::string(24, '\0');
  CHECK_EQ(PickleFile::read(stream(object, floats), "f.pt")->load("t").numel(), int64_t{6});
  refused(stream(object, floats + "x"), {"end of the file", "1 bytes"});
  refused(stream(object, number(5, 8) + std::string(24, '\0')), {"storage 0: expected 6 elements, found 5"});
  refused(stream(object, floats, ""), {"end of the file", "32 bytes"});
  refused(stream(object, "", ""), {"expected storage 0, found none"});
  refused(stream(object, floats, text("1") + "a"), {"keys of its storages", "1"});
  refused(stream(object, floats + floats, text("0") + "a"s + text("0") + "a"), {"once"});
  refused(stream(object, floats, "Na"), {"keys of its storages"});
  refused(program("N") + object, {"another program's pickle"});
  const auto two = program("}("s + text("a") + tensor(storage(6), 0, {1}, {1}) + text("b") +
                           tensor(storage(6, "0", "IntStorage"), 0, {1}, {1}) + "u");
  refused(stream(two, floats), {"storage 0", "one size and dtype"});
}

TEST(pickles_are_checked) {
  const auto refuses = [](const std::string& object, const std::vector<std::string>& parts) {
    refused(checkpoint(program(object)), parts);
  };
  refused(checkpoint(""), {"1 more bytes", "found 0"});
  refused(checkpoint("\x80\x06N."), {"protocol 2 to 5", "6"});
  refused(checkpoint("N."), {"protocol 2 to 5"});
  refused(checkpoint(program("") + "\x80"), {"a value on the stack"});
  refuses("]", {"expected a dict of tensors, found a list"});
  refuses("}", {"expected tensors", "found nothing"});
  refuses("}"s + text("model") + "}s", {"expected tensors", "found model", "torch.save"});
  refuses("}"s + text("state_dict") + "}s", {"expected tensors", "found nothing"});
  refuses("}"s + integer(1) + tensor(storage(6), 0, {1}, {1}) + "s", {"names of tensors", "an integer"});
  refuses("}"s + text("\xff") + tensor(storage(6), 0, {1}, {1}) + "s", {"names of tensors", "UTF-8"});
  const auto one = text("t") + tensor(storage(6), 0, {1}, {1});
  refuses("}(" + one + one + "u", {"t: expected one tensor of that name, found two"});
  refuses("}N", {"one value", "several"});
  refuses("(}", {"one value"});
  refuses("\xff", {"an opcode", "255"});
  refuses("h\x05", {"remembered as 5"});
  refuses("(0", {"a value on the stack"});
  refuses("t", {"a mark"});
  refuses("}N)s"s + std::string("NNNs"), {"a dict to set items of", "None"});
  refuses("X\xff\xff\xff\xff", {"4294967295 more bytes"});
  refuses("\x8d\xff\xff\xff\xff\xff\xff\xff\xff", {"18446744073709551615 more bytes"});
  refuses("\x95\xff\xff\xff\xff\xff\xff\xff\xffN", {"a frame"});
  refuses("c"s + std::string(2000, 'x'), {"a name"});
  refuses("ccollections\nOrderedDict\n]R", {"a tuple of arguments", "a list"});
  refuses("N)R", {"a function", "None"});
  refuses("ctorch._utils\n_rebuild_tensor_v2\n)R", {"arguments of _rebuild_tensor_v2"});
  refuses("NQ", {"a storage", "None"});
  refuses(tensor(storage(6), 0, {1}, {1}) + "}b", {"state is plain", "a tensor", "a dict"});
}

TEST(work_is_bounded_by_what_is_there) {
  // Two million opcodes at most, and a list that is passed again and again counts each time.
  refused(checkpoint(program(std::string(3'000'000, 'N'))), {"more than 2000000 opcodes"});
  std::string pairs = "](";
  for (int i = 0; i < 1000; ++i) pairs += "NN\x86";
  std::string calls;
  for (int i = 0; i < 5000; ++i) calls += "h\x01h\x02R0";
  refused(checkpoint(program("ccollections\nOrderedDict\nq\x01" + pairs + "e\x85q\x02" + calls)),
          {"more than 2000000 opcodes"});
  // Nesting and circles are walked by nobody.
  const std::string deep(500'000, '(');
  refused(checkpoint(program(deep)), {"a value on the stack"});
  const auto circle = "}q\x01"s + text("self") + "h\x01s"s + text("t") + tensor(storage(6), 0, {6}, {1}) + "s";
  CHECK_EQ(PickleFile::read(checkpoint(program(circle)), "f.pt")->tensors().size(), size_t{1});
  const auto itself = "}q\x01"s + text("state_dict") + "h\x01s"s + text("t") + tensor(storage(6), 0, {6}, {1}) + "s";
  CHECK_EQ(PickleFile::read(checkpoint(program(itself)), "f.pt")->tensors().size(), size_t{1});
}

TEST(truncated_files_are_refused) {
  for (const char* name : {"trained_zip.pt", "zip_protocol4.pt", "stream_protocol2.pt", "old_stream.pth"}) {
    const auto bytes = bytes_of(data(name));
    for (size_t n = 0; n < bytes.size(); ++n) {
      const std::string part = bytes.substr(0, n);  // of its own, so that a sanitizer sees its end
      refused(part, {});
    }
  }
}

TEST(flipped_bits_crash_nothing_and_give_no_wrong_shape) {
  // A flip in a tensor's own bytes cannot be seen. All else that opens has to say the same.
  for (const char* name : {"zip_protocol4.pt", "stream_protocol4.pt"}) {
    auto bytes = bytes_of(data(name));
    const auto whole = PickleFile::open(data(name));
    const bool zip = bytes.starts_with("PK");
    size_t opened = 0;
    for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      bytes[bit / 8] ^= static_cast<char>(1 << bit % 8);
      try {
        const auto file = PickleFile::read(bytes, name);
        ++opened;
        for (const auto& [key, info] : file->tensors()) {
          const auto loaded = file->load(key);
          if (!zip) continue;  // a stream has no checksums at all
          const auto& original = whole->tensors().at(key);
          CHECK(info.begin == original.begin && info.end == original.end && info.strides == original.strides);
          CHECK(loaded.sizes() == at::IntArrayRef(original.shape) && info.dtype == original.dtype);
        }
      } catch (const Failure& f) {
        CHECK(f.code == Code::BadFile);
      }
      bytes[bit / 8] ^= static_cast<char>(1 << bit % 8);
    }
    CHECK(opened > 0 && opened < 8 * bytes.size());
  }
}

DRM_TEST_MAIN
