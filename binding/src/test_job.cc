// testJob(options, listen): a job without a model, so that tests of the job template need no weights and can be as
// fast, slow, talkative or unlucky as they like. Part of every build, since what is tested is what ships.
//
//   steps, millis   that many steps of that many milliseconds; cancel is honoured between steps, as in real jobs
//   reports         Progress messages per step (phase "test", step counts all of them)
//   events          Event messages per step (kind "test", index counts all of them)
//   bytes           length of each event's `bytes`; every byte is index % 256
//   fail            code to fail with after the last step; details { step }
//   handle          from testHandle(): kept alive by the job, as a pipeline is
#include <atomic>
#include <chrono>
#include <thread>

#include "arguments.h"
#include "exported.h"
#include "handle.h"
#include "job.h"

namespace drm::binding {

struct TestObject {
  static inline std::atomic<int> alive{0};
  TestObject() { ++alive; }
  ~TestObject() { --alive; }
};

template <>
struct HandleType<TestObject> {
  static constexpr const char* name = "test object";
  static constexpr napi_type_tag tag = {0x2c4df1a6e07b4893, 0xb85d90c61f7ae324};
};

namespace {

struct TestOptions {
  int64_t steps, millis, reports, events, bytes;
  std::string fail;
  std::shared_ptr<TestObject> object;
};

Code code_named(const std::string& name) {
  for (int i = 0; i <= static_cast<int>(Code::Internal); ++i)
    if (name == code_name(static_cast<Code>(i))) return static_cast<Code>(i);
  throw Failure(Code::BadRequest, "[testJob] expected a known code, found '" + name + "'");
}

int64_t run_test(const TestOptions& options, Control& control) {
  int64_t reported = 0, emitted = 0;
  for (int64_t step = 0; step < options.steps; ++step) {
    control.check();
    if (options.millis > 0) std::this_thread::sleep_for(std::chrono::milliseconds(options.millis));
    for (int64_t i = 0; i < options.reports; ++i)
      control.report({"test", ++reported, options.steps * options.reports, 0.0});
    for (int64_t i = 0; i < options.events; ++i, ++emitted) {
      Event event{"test", {{"index", static_cast<double>(emitted)}, {"last", false}, {"note", std::string("ok")}}, {}};
      event.bytes.assign(static_cast<size_t>(options.bytes), static_cast<uint8_t>(emitted % 256));
      control.emit(std::move(event));
    }
  }
  if (!options.fail.empty())
    throw Failure(code_named(options.fail), "[testJob] asked to fail", {{"step", std::to_string(options.steps)}});
  return options.steps;
}

}  // namespace

DRM_EXPORT(testJob) {
  const Fields fields(info[0], "test options");
  const auto count = [&](const char* name) { return fields.has(name) ? fields.integer(name) : 0; };
  TestOptions options{count("steps"), count("millis"), count("reports"), count("events"), count("bytes"), "", nullptr};
  if (fields.has("fail")) options.fail = fields.text("fail");
  if (fields.has("handle"))
    options.object = Handle<TestObject>::get(info[0].As<Napi::Object>().Get("handle"), "testJob");
  return Job<int64_t>::start(
      info.Env(), "drm.testJob", listener(info[1]),
      [options = std::move(options)](Control& control) { return run_test(options, control); },
      [](Napi::Env env, int64_t&& steps) -> Napi::Value { return Napi::Number::New(env, static_cast<double>(steps)); });
}

DRM_EXPORT(testHandle) { return Handle<TestObject>::create(info.Env(), std::make_shared<TestObject>(), /*bytes=*/0); }

DRM_EXPORT(disposeTestHandle) {
  Handle<TestObject>::dispose(info.Env(), info[0], "disposeTestHandle");
  return info.Env().Undefined();
}

DRM_EXPORT(testObjectsAlive) { return Napi::Number::New(info.Env(), TestObject::alive.load()); }

}  // namespace drm::binding
