// A long computation on its own thread, seen from JavaScript as { promise, cancel }.
//
//   return Job<SampleSummary>::start(env, "drm.sample", listen,
//       [pipeline, request](Control& control) { return pipeline->sample(request, control); },  // no napi value in
//       scope
//       [](Napi::Env env, SampleSummary&& s) { return to_js(env, s); });
//
// Rules, each of them a crash or a hang otherwise:
//  1. A cleanup hook of the environment sets the cancel flag, so that teardown does not wait for the job's natural end.
//  2. The thread is joined in the finalizer of the thread-safe function, the last moment at which the environment
//  exists.
//  3. After napi_closing the thread-safe function is not touched again.
//  4. A listener that throws cancels the job, and the promise rejects with what it threw.
//  5. No static holds a JavaScript value: worker threads load this library again.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "mailbox.h"
#include "napi_setup.h"

namespace drm::binding {

/// All that does not depend on the result's type. Owns itself from start() until its finalizer.
class JobBase {
 public:
  JobBase(const JobBase&) = delete;
  JobBase& operator=(const JobBase&) = delete;

 protected:
  friend std::default_delete<JobBase>;
  explicit JobBase(Napi::Env env);
  virtual ~JobBase() = default;

  virtual void work(Control& control) = 0;              // the job's thread
  virtual void drop_work() = 0;                         // the job's thread: frees what only the work needed
  virtual Napi::Value result_to_js(Napi::Env env) = 0;  // JavaScript thread, after work() returned

  /// JavaScript thread. `listen(kind, value)` is called with ("progress", Progress) and ("event", Event). The promise
  /// resolves to { value } or { failure: { code, message, details } } once the thread is done, and rejects only with
  /// what a listener threw.
  static Napi::Object launch(std::unique_ptr<JobBase> owned, const char* name, Napi::Function listen);

 private:
  void run();
  void end();
  void notify();
  void drain(Napi::Env env, Napi::Function listen);
  void deliver(Napi::Env env, Napi::Function listen, Message&& message);
  void stop_listening(Napi::Value thrown);
  void settle(Napi::Env env);

  static void on_notification(napi_env env, napi_value listen, void* context, void* data);
  static void on_finalize(napi_env env, void* data, void* hint);
  static void on_environment_cleanup(void* control);

  Napi::Env env_;
  Napi::Promise::Deferred deferred_;
  std::shared_ptr<Control> control_ = std::make_shared<Control>();
  Mailbox mailbox_;
  napi_threadsafe_function channel_ = nullptr;
  bool channel_closing_ = false;            // the job's thread only
  std::optional<Failure> failure_;          // written by the job's thread before the mailbox is closed
  Napi::ObjectReference listener_failure_;  // { thrown }: a reference to a primitive is impossible
  bool settled_ = false;
  std::thread thread_;
};

template <class Result>
class Job final : public JobBase {
 public:
  using Work = std::function<Result(Control&)>;
  using ToJs = std::function<Napi::Value(Napi::Env, Result&&)>;

  static Napi::Object start(Napi::Env env, const char* name, Napi::Function listen, Work work, ToJs to_js) {
    return launch(std::unique_ptr<JobBase>(new Job(env, std::move(work), std::move(to_js))), name, listen);
  }

 private:
  Job(Napi::Env env, Work work, ToJs to_js) : JobBase(env), work_(std::move(work)), to_js_(std::move(to_js)) {}

  void work(Control& control) override { result_ = work_(control); }
  void drop_work() override { work_ = nullptr; }
  Napi::Value result_to_js(Napi::Env env) override { return to_js_(env, std::move(*result_)); }

  Work work_;
  ToJs to_js_;
  std::optional<Result> result_;
};

}  // namespace drm::binding
