#include "job.h"

#include <system_error>

#include "live_jobs.h"
#include "values.h"

namespace drm::binding {
namespace {

Failure failure_from(std::exception_ptr error) {
  try {
    rethrow_as_failure(error);
  } catch (const Failure& failure) {
    return failure;
  } catch (const std::exception& unexpected) {
    return Failure(Code::Internal, unexpected.what());
  }
}

}  // namespace

JobBase::JobBase(Napi::Env env) : env_(env), deferred_(Napi::Promise::Deferred::New(env)) {
  control_->on_progress = [this](const Progress& progress) {
    if (mailbox_.put(progress)) notify();
  };
  control_->on_event = [this](Event&& event) {
    if (mailbox_.put(std::move(event))) notify();
  };
}

Napi::Object JobBase::launch(std::unique_ptr<JobBase> owned, const char* name, Napi::Function listen) {
  const Napi::Env env = owned->env_;
  const auto status = napi_create_threadsafe_function(env, listen, nullptr, Napi::String::New(env, name),
                                                      /*max_queue_size=*/0, /*initial_thread_count=*/1, owned.get(),
                                                      on_finalize, owned.get(), on_notification, &owned->channel_);
  if (status != napi_ok) throw Failure(Code::Internal, "[job] Node refused a thread-safe function");
  JobBase* job = owned.release();  // from here on, on_finalize deletes it
  // After the thread-safe function was made: hooks run in reverse order, so the flag is set before Node waits for it.
  napi_add_env_cleanup_hook(env, on_environment_cleanup, job->control_.get());
  auto handle = Napi::Object::New(env);
  handle["promise"] = job->deferred_.Promise();
  handle["cancel"] = Napi::Function::New(
      env, [control = job->control_](const Napi::CallbackInfo&) { control->cancelled = true; }, "cancel");
  LiveJobs::instance().add(job->control_);
  try {
    job->thread_ = std::thread([job] { job->run(); });
  } catch (const std::system_error& error) {
    LiveJobs::instance().remove(job->control_);
    job->failure_ =
        Failure(Code::OutOfMemory, std::string("[job] the system gives no further thread: ") + error.what() +
                                       "; raise the limit on processes (ulimit -u) or end other programs");
    job->end();
  }
  return handle;
}

void JobBase::run() {
  LiveJobs::instance().expect_no_exit();
  try {
    work(*control_);
  } catch (...) {
    failure_ = failure_from(std::current_exception());
  }
  drop_work();
  end();
  LiveJobs::instance().remove(control_);
}

void JobBase::end() {
  if (mailbox_.close()) notify();
  if (!channel_closing_) napi_release_threadsafe_function(channel_, napi_tsfn_release);
}

void JobBase::notify() {
  if (channel_closing_) return;
  channel_closing_ = napi_call_threadsafe_function(channel_, nullptr, napi_tsfn_nonblocking) != napi_ok;
}

void JobBase::on_notification(napi_env env, napi_value listen, void* context, void*) {
  if (env == nullptr) return;  // Node empties its queue after on_finalize: the job is gone
  auto* job = static_cast<JobBase*>(context);
  try {
    job->drain(env, Napi::Function(env, listen));
  } catch (...) {
    // Nothing may cross Node's C frames. What gets here is an environment that can no longer run JavaScript.
    job->control_->cancelled = true;
  }
}

void JobBase::drain(Napi::Env env, Napi::Function listen) {
  auto batch = mailbox_.take();
  for (auto& message : batch.messages) {
    if (!listener_failure_.IsEmpty()) break;
    const Napi::HandleScope scope(env);
    try {
      deliver(env, listen, std::move(message));
    } catch (const Napi::Error& error) {
      stop_listening(error.Value());
    }
  }
  if (batch.closed && !std::exchange(settled_, true)) settle(env);
}

void JobBase::deliver(Napi::Env env, Napi::Function listen, Message&& message) {
  if (auto* progress = std::get_if<Progress>(&message))
    listen.Call({Napi::String::New(env, "progress"), to_js(env, *progress)});
  else
    listen.Call({Napi::String::New(env, "event"), to_js(env, std::get<Event>(std::move(message)))});
}

void JobBase::stop_listening(Napi::Value thrown) {
  control_->cancelled = true;
  auto box = Napi::Object::New(env_);
  box["thrown"] = thrown;
  listener_failure_ = Napi::Persistent(box);
}

void JobBase::settle(Napi::Env env) {
  if (!listener_failure_.IsEmpty()) return deferred_.Reject(listener_failure_.Get("thrown"));
  try {
    auto outcome = Napi::Object::New(env);
    if (failure_)
      outcome["failure"] = to_js(env, *failure_);
    else
      outcome["value"] = result_to_js(env);
    deferred_.Resolve(outcome);
  } catch (const Napi::Error& error) {
    deferred_.Reject(error.Value());
  }
}

void JobBase::on_finalize(napi_env env, void* data, void*) {
  auto* job = static_cast<JobBase*>(data);
  if (job->thread_.joinable()) job->thread_.join();
  napi_remove_env_cleanup_hook(env, on_environment_cleanup, job->control_.get());
  delete job;
}

void JobBase::on_environment_cleanup(void* control) { static_cast<Control*>(control)->cancelled = true; }

}  // namespace drm::binding
