// The JSON reader: what it accepts, what it refuses and where it says so.
#include "tensor_io/json.h"

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "check.h"
#include "tensor_io/config_reader.h"

using namespace drm;

namespace {

Json parse(const std::string& text) { return Json::parse(text, "t.json"); }
void refused(const std::string& text, std::vector<std::string> parts = {}) {
  parts.push_back("t.json");
  test::expect_failure(__FILE__, __LINE__, Code::BadFile, parts, [&] { parse(text); });
}

}  // namespace

TEST(values_keep_their_kind) {
  const auto j = parse(R"( {"a": [1, -2.5, 1e3, "x", true, false, null], "b": {}} )");
  const auto& a = j.find("a")->items();
  CHECK(a[0].is_int() && a[0].as_int() == 1);
  CHECK_EQ(a[1].as_double(), -2.5);
  CHECK(!a[2].is_int() && a[2].as_double() == 1000);
  CHECK(a[4].as_bool() && !a[5].as_bool() && a[6].is_null());
  CHECK(j.find("b")->is_object() && !j.find("c"));
}

TEST(integers_beyond_64_bits_become_doubles) {
  CHECK_EQ(parse("9223372036854775807").as_int(), INT64_MAX);
  CHECK(!parse("9223372036854775808").is_int());
  refused("1e999", {"double"});
}

TEST(escapes_and_unicode) {
  CHECK_EQ(parse(R"("\u00e9\n\ud83d\ude00")").as_string(), std::string("\xc3\xa9\n\xf0\x9f\x98\x80"));
  refused(R"("\ud83d")");
  refused(R"("\udc00")");
  refused("\"\xff\"", {"UTF-8"});
  refused("\"\xc0\x80\"", {"UTF-8"});
  refused("\"\xed\xa0\x80\"", {"UTF-8"});
}

TEST(malformed_texts_are_refused_with_line_and_column) {
  for (const char* text : {"", "{", "[1,]", "{\"a\":}", "{a:1}", "tru", "01", "1.", "-", "+1", "\"", "\"\n\"", "[1] 2",
                           "{\"a\":1,}", "nul", "[", "\"\\x\"", "\x00"})
    refused(text);
  refused("{\n  \"a\": oops}", {"line 2, column 8"});
}

TEST(a_key_may_not_appear_twice) { refused(R"({"a": 1, "a": 2})", {"\"a\" appears twice"}); }

TEST(numbers_as_pythons_json_writes_them) {
  CHECK(std::isnan(parse("NaN").as_double()));
  CHECK(parse("[-Infinity]").items()[0].as_double() < 0);
  for (const char* text : {"-NaN", "nan", "Inf", "-Inf", "+Infinity"}) refused(text);
  const auto j = parse(R"({"n": NaN})");
  CHECK_EQ(ConfigReader(j, "c.json").number("n", 2.5), 2.5);  // not stated
}

TEST(a_tree_is_bounded) {
  std::string many = "[0";
  for (int i = 0; i < 1'000'000; ++i) many += ",0";
  refused(many + "]", {"1000000 values"});
  refused("[" + std::string(20'000'000, '\\'), {});
  std::string twins = "{";
  for (int i = 0; i < 100'000; ++i) twins.append("\"").append(std::to_string(i)).append("\":0,");
  refused(twins + "\"7\":0}", {"\"7\" appears twice"});
}

TEST(a_byte_order_mark_is_passed_over) {
  const auto path = std::filesystem::temp_directory_path() / ("drm-json-" + std::to_string(::getpid()));
  std::ofstream(path) << "\xef\xbb\xbf{\"a\": 1}";
  CHECK_EQ(Json::read(path.string()).find("a")->as_int(), 1);
  std::ofstream(path) << "";
  EXPECT_FAILURE(BadFile, ({path.string()}), Json::read(path.string()));
  std::filesystem::remove(path);
  EXPECT_FAILURE(BadFile, ({path.string(), "No such file"}), Json::read(path.string()));
}

TEST(depth_is_bounded) {
  refused(std::string(100000, '['), {"64 nested"});
  parse(std::string(60, '[') + std::string(60, ']'));
}

TEST(config_fields_name_file_key_expected_and_found) {
  const auto j = parse(R"({"n": "x", "list": [1, "a"], "cls": "Other", "flag": 1})");
  const ConfigReader r(j, "c.json");
  EXPECT_FAILURE(BadConfig, ({"c.json", "n", "an integer", "\"x\""}), r.integer("n"));
  EXPECT_FAILURE(BadConfig, ({"missing", "nothing"}), r.integer("missing"));
  EXPECT_FAILURE(BadConfig, ({"list", "integers"}), r.integers("list"));
  EXPECT_FAILURE(BadConfig, ({"cls", "Mine", "Other"}), r.expect("cls", "Mine"));
  EXPECT_FAILURE(BadConfig, ({"flag", "true or false"}), r.boolean("flag", true));
  EXPECT_FAILURE(BadConfig, ({"flag", "false"}), r.expect_flag("flag", false));
  CHECK_EQ(r.integer("missing", 7), 7);
}

DRM_TEST_MAIN
