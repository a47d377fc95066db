// The processes of a training by c10d: a TCP store where they meet, Gloo between their main memories, NCCL between
// their GPUs where this build has it, and a pulse by which each knows that the others live.
#define USE_C10D_GLOO 1

#include <ATen/ATen.h>

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <future>
#include <mutex>
#include <optional>
#include <thread>

#include "parallel/c10d_meeting.h"
#include "parallel/collectives.h"

namespace drm {
namespace {

using at::Tensor;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using BackendPtr = c10::intrusive_ptr<c10d::Backend>;
using WorkPtr = c10::intrusive_ptr<c10d::Work>;

/// Silence after which a process is taken for dead when a connection has just broken.
constexpr auto kSilenceAfterBreak = 3s;
/// All have come and give signs of life: to be connected with each other then takes them seconds.
constexpr auto kConnecting = 120s;
/// Collectives wait as long as the pulses beat: the first process may be drawing samples for an hour.
constexpr auto kNever = std::chrono::hours(24 * 20);

BackendPtr connect_gloo(const GroupPlace& place, const Meeting::StorePtr& store) {
  auto options = c10d::ProcessGroupGloo::Options::create_default(kNever);
  // On one machine, whatever its name resolves to.
  if (place.address == "localhost" || place.address.rfind("127.", 0) == 0)
    options->devices = {c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")};
  return c10::make_intrusive<c10d::ProcessGroupGloo>(c10::make_intrusive<c10d::PrefixStore>("gloo", store),
                                                     static_cast<int>(place.rank), static_cast<int>(place.size),
                                                     options);
}

class C10dGroup final : public Collectives {
 public:
  explicit C10dGroup(const GroupPlace& place) : place_(place), meeting_(place) {}

  /// Meets the others; see Meeting::enter.
  void enter(const Control& control) {
    meeting_.enter(control);
    {
      const std::lock_guard lock(mutex_);
      met_ = Clock::now();
    }
    pulse_ = std::thread([this] { beat(); });
    gloo_ = connect_gloo(place_, meeting_.store);
  }

  /// Throws what keeps `enter` from its end and it cannot say itself.
  void check_entering() const {
    const std::lock_guard lock(mutex_);
    if (lost_) std::rethrow_exception(lost_);
    if (!met_) return meeting_.check_silence();
    if (Clock::now() - *met_ > kConnecting)
      throw Failure(
          Code::PeerLost,
          "[parallel] rank " + std::to_string(place_.rank) +
              ": expected connections with all other processes, found none within " +
              std::to_string(kConnecting.count()) +
              " s, though all have come; may their machines be reached from each other (GLOO_SOCKET_IFNAME)?");
  }

  ~C10dGroup() override {
    leave("", "");
    if (!broken_) return;
    // The threads of a broken group may wait for a dead process for ever: what they use is left to the system.
    for (auto* backend : {&gloo_, &nccl_}) backend->release();
  }

  int64_t rank() const override { return place_.rank; }
  int64_t size() const override { return place_.size; }

  std::vector<std::string> exchange(const std::string& mine, const Control& control) override {
    // Short messages, which almost all are, take one transfer.
    constexpr int64_t kSlot = 1024, kHead = sizeof(int64_t);
    const auto gathered = [&](const char* from, int64_t length, int64_t slot) {
      auto sent = at::zeros({slot}, at::kByte);
      const auto whole = static_cast<int64_t>(mine.size());
      std::memcpy(sent.data_ptr<uint8_t>(), &whole, kHead);
      std::memcpy(sent.data_ptr<uint8_t>() + kHead, from, static_cast<size_t>(length));
      std::vector<Tensor> in{sent};
      std::vector<std::vector<Tensor>> out{{}};
      for (int64_t r = 0; r < size(); ++r) out[0].push_back(at::empty({slot}, at::kByte));
      finish(started([&] { return gloo_->allgather(out, in); }), control);
      return std::move(out[0]);
    };
    const auto first = std::min(static_cast<int64_t>(mine.size()), kSlot - kHead);
    auto parts = gathered(mine.data(), first, kSlot);
    std::vector<int64_t> lengths;
    int64_t longest = 0;
    for (const auto& part : parts) {
      std::memcpy(&lengths.emplace_back(), part.data_ptr<uint8_t>(), kHead);
      longest = std::max(longest, lengths.back());
    }
    if (longest > kSlot - kHead) parts = gathered(mine.data(), static_cast<int64_t>(mine.size()), longest + kHead);
    std::vector<std::string> all;
    for (size_t r = 0; r < parts.size(); ++r)
      all.emplace_back(reinterpret_cast<const char*>(parts[r].data_ptr<uint8_t>()) + kHead,
                       static_cast<size_t>(lengths[r]));
    return all;
  }

  Pending all_reduce(const Tensor& sum) override {
    std::vector<Tensor> tensors{sum};
    return pending(sum, [&](c10d::Backend& b) { return b.allreduce(tensors); });
  }
  Pending broadcast(const Tensor& tensor, int64_t from) override {
    std::vector<Tensor> tensors{tensor};
    c10d::BroadcastOptions options;
    options.rootRank = from;
    return pending(tensor, [&](c10d::Backend& b) { return b.broadcast(tensors, options); });
  }

  void watch(const Control& control) override {
    std::unique_lock lock(mutex_);
    while (!left_ && !lost_) {
      changed_.wait_for(lock, 100ms);
      if (control.cancelled) return;
    }
    if (lost_ && !left_) std::rethrow_exception(lost_);
  }

  void leave(const std::string& code, const std::string& message) override {
    {
      const std::lock_guard lock(mutex_);
      if (left_ || !met_) return;
      left_ = true;
      changed_.notify_all();
    }
    if (pulse_.joinable()) pulse_.join();
    answered([&] {
      meeting_.store->set(key("left", rank()), bytes_of(code + "\n" + message));
      if (rank() == 0 && !place_.store_is_there) {
        const auto until = Clock::now() + kFarewell;
        while (Clock::now() < until && !all_left()) std::this_thread::sleep_for(20ms);
      }
    });
  }

 private:
  std::string name(int64_t rank) const {
    return "rank " + std::to_string(rank) + " (" + meeting_.who.at(static_cast<size_t>(rank)) + ")";
  }

  /// All but one that is gone without a word.
  bool all_left() {
    for (int64_t r = 1; r < size(); ++r)
      if (std::to_string(r) != lost_rank_ && !meeting_.store->check({key("left", r)})) return false;
    return true;
  }

  // The pulse's thread. The first process listens to all others, they to it and to its verdict: two or three calls a
  // beat for each, however many there are.
  void beat() {
    std::vector<Heard> heard(static_cast<size_t>(size()));
    auto silence = [&] { return suspicious_ ? Clock::duration(kSilenceAfterBreak) : Clock::duration(kSilence); };
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, kBeat, [&] { return left_; });
        if (left_ || lost_) return;
      }
      try {
        meeting_.pulse_store->add(key("pulse", rank()), 1);
        if (rank() != 0 && meeting_.pulse_store->check({"lost"}))
          return lose_as(text_of(meeting_.pulse_store->get("lost")));
        for (int64_t r = 0; r < size(); ++r) {
          if (r == rank() || (rank() != 0 && r != 0)) continue;
          auto& last = heard[static_cast<size_t>(r)];
          if (const auto beats = meeting_.pulse_store->add(key("pulse", r), 0); beats != last.beats) {
            last = {beats, Clock::now()};
            continue;
          }
          if (meeting_.pulse_store->check({key("left", r)})) {
            const auto said = text_of(meeting_.pulse_store->get(key("left", r)));
            if (said == "\n") continue;  // it had done its part
            return lose(r, first_line(said), said.substr(said.find('\n') + 1));
          }
          if (Clock::now() - last.at > silence())
            return lose(r, "",
                        "no sign of life for " +
                            std::to_string(std::chrono::duration_cast<std::chrono::seconds>(silence()).count()) +
                            " s; was it killed, or did its machine go down?");
        }
      } catch (const std::exception& e) {
        return lose(0, "", "the store it hosts does not answer; was it killed, or did its machine go down?");
      }
    }
  }

  void lose(int64_t rank, const std::string& code, const std::string& why) {
    const auto verdict = std::to_string(rank) + "\n" + code + "\n" + why;
    answered([&] { meeting_.pulse_store->set("lost", bytes_of(verdict)); });
    lose_as(verdict);
  }

  void lose_as(const std::string& verdict) {
    const auto rank = first_line(verdict);
    const auto rest = verdict.substr(rank.size() + 1);
    const auto code = first_line(rest), why = rest.substr(code.size() + 1);
    const bool cancelled = code == code_name(Code::Cancelled);
    const auto what = cancelled ? " was stopped: " : code.empty() ? " is gone: " : " ended with an error: ";
    const auto message = "[parallel] " + name(std::stoll(rank)) + what + why;
    const std::lock_guard lock(mutex_);
    lost_ = std::make_exception_ptr(
        Failure(cancelled ? Code::Cancelled : Code::PeerLost, message, {{"rank", rank}, {"code", code}}));
    lost_rank_ = rank;
    changed_.notify_all();
#ifdef USE_C10D_NCCL
    if (nccl_) nccl_->abort();
#endif
  }

  BackendPtr& backend(const Tensor& tensor) {
#ifdef USE_C10D_NCCL
    if (tensor.is_cuda()) {
      if (!nccl_) {
        auto options = c10d::ProcessGroupNCCL::Options::create();
        options->timeout = std::chrono::duration_cast<std::chrono::milliseconds>(kNever);
        nccl_ =
            c10::make_intrusive<c10d::ProcessGroupNCCL>(c10::make_intrusive<c10d::PrefixStore>("nccl", meeting_.store),
                                                        static_cast<int>(rank()), static_cast<int>(size()), options);
      }
      return nccl_;
    }
#else
    (void)tensor;
#endif
    return gloo_;
  }

  template <class Start>
  WorkPtr started(Start start) {
    try {
      return start();
    } catch (const std::exception& e) {
      fail(e.what());
    }
  }

  template <class Start>
  Pending pending(const Tensor& tensor, Start start) {
    auto& used = backend(tensor);
    auto work = started([&] { return start(*used); });
    // The tensor is held until then.
    return {[this, work, tensor, queued = used == nccl_](const Control& control) {
      if (queued)
        work->wait();  // queues the GPU's wait, does not wait itself
      else
        finish(work, control);
    }};
  }

  /// Waits for a transfer of Gloo's, which cannot be interrupted itself.
  void finish(const WorkPtr& work, const Control& control) {
    const auto began = Clock::now();
    while (!work->isCompleted()) {
      const auto waited = Clock::now() - began;
      if (waited < 50us) {
        std::this_thread::yield();
        continue;
      }
      if (control.cancelled) broken_ = true;
      control.check();
      if (const std::lock_guard lock(mutex_); lost_) {
        broken_ = true;
        std::rethrow_exception(lost_);
      }
      std::this_thread::sleep_for(std::min<Clock::duration>(waited / 20, 2ms));
    }
    try {
      work->wait();
    } catch (const std::exception& e) {
      fail(e.what());
    }
  }

  /// A transfer failed: that says that a process is gone, not which. The pulse will tell.
  [[noreturn]] void fail(const std::string& what) {
    broken_ = true;
    suspicious_ = true;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kSilenceAfterBreak + 5s, [&] { return lost_ != nullptr || left_; });
    if (lost_) std::rethrow_exception(lost_);
    throw Failure(Code::PeerLost, "[parallel] the connection to another process broke (" + first_line(what) +
                                      "), though all of them give signs of life; is the network at fault?");
  }

  const GroupPlace place_;
  Meeting meeting_;
  BackendPtr gloo_, nccl_;
  std::thread pulse_;
  std::atomic<bool> suspicious_{false}, broken_{false};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool left_ = false;
  std::optional<Clock::time_point> met_;
  std::exception_ptr lost_;  // the Failure of all calls once another process is gone
  std::string lost_rank_;    // which one
};

}  // namespace

std::shared_ptr<ProcessGroup> ProcessGroup::join(const GroupPlace& place, Control& control) {
  if (place.size < 1 || place.rank < 0 || place.rank >= place.size || place.port < 1 || place.port > 65535)
    throw Failure(Code::BadRequest, "[parallel] expected RANK below WORLD_SIZE and a MASTER_PORT up to 65535, found " +
                                        std::to_string(place.rank) + " of " + std::to_string(place.size) + ", port " +
                                        std::to_string(place.port));
  struct Entering {
    std::shared_ptr<C10dGroup> group;
    Control control;
    std::promise<void> entered;
  };
  const auto entering = std::make_shared<Entering>();
  entering->group = std::make_shared<C10dGroup>(place);
  auto entered = entering->entered.get_future();
  std::thread([entering] {
    try {
      entering->group->enter(entering->control);
      entering->entered.set_value();
    } catch (...) {
      entering->entered.set_exception(std::current_exception());
    }
  }).detach();
  try {
    while (entered.wait_for(50ms) != std::future_status::ready) {
      control.check();
      entering->group->check_entering();
    }
  } catch (const Failure&) {
    entering->control.cancelled = true;
    entered.wait_for(1s);  // to tell the others
    throw;
  }
  entered.get();
  return entering->group;
}

ParallelInfo parallel_info() {
#ifdef USE_C10D_NCCL
  return {"Gloo", "NCCL"};
#else
  return {"Gloo", ""};
#endif
}

}  // namespace drm
