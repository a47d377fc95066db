// ProcessGroup: join, exchange, watch, leave.
#include "arguments.h"
#include "exported.h"
#include "group_handle.h"
#include "job.h"
#include "live_jobs.h"

namespace drm::binding {
namespace {

Napi::Value nothing(Napi::Env env, bool&&) { return env.Undefined(); }

}  // namespace

DRM_EXPORT(parallelInfo) {
  const auto p = parallel_info();
  auto out = Napi::Object::New(info.Env());
  out["cpu"] = p.cpu;
  out["gpu"] = p.gpu;
  return out;
}

DRM_EXPORT(joinGroup) {
  const Fields fields(info[0], "place");
  GroupPlace place;
  place.rank = fields.integer("rank");
  place.size = fields.integer("size");
  place.address = fields.text("address");
  place.port = fields.integer("port");
  place.store_is_there = fields.flag("storeIsThere");
  place.attempt = fields.text("attempt");
  place.patience = fields.number("patience");
  return Job<std::shared_ptr<ProcessGroup>>::start(
      info.Env(), "drm.joinGroup", listener(info[1]),
      [place](Control& control) {
        try {
          return ProcessGroup::join(place, control);
        } catch (...) {
          LiveJobs::instance().leave_behind();
          throw;
        }
      },
      [](Napi::Env env, std::shared_ptr<ProcessGroup>&& group) {
        return Handle<ProcessGroup>::create(env, std::move(group), 0);
      });
}

DRM_EXPORT(groupExchange) {
  return Job<std::vector<std::string>>::start(
      info.Env(), "drm.groupExchange", listener(info[2]),
      [group = Handle<ProcessGroup>::get(info[0], "groupExchange"),
       text = Fields(info[1], "exchange").text("text")](Control& control) { return group->exchange(text, control); },
      [](Napi::Env env, std::vector<std::string>&& texts) {
        auto out = Napi::Array::New(env, texts.size());
        for (uint32_t i = 0; i < texts.size(); ++i) out[i] = texts[i];
        return out;
      });
}

DRM_EXPORT(groupWatch) {
  return Job<bool>::start(
      info.Env(), "drm.groupWatch", listener(info[1]),
      [group = Handle<ProcessGroup>::get(info[0], "groupWatch")](Control& control) {
        group->watch(control);
        return true;
      },
      nothing);
}

DRM_EXPORT(leaveGroup) {
  const Fields fields(info[1], "leave");
  return Job<bool>::start(
      info.Env(), "drm.leaveGroup", listener(info[2]),
      [group = Handle<ProcessGroup>::get(info[0], "leaveGroup"), code = fields.text("code"),
       message = fields.text("message")](Control&) {
        group->leave(code, message);
        return true;
      },
      nothing);
}

}  // namespace drm::binding
