// How processes find each other: a TCP store that the first one hosts (or a launcher), where each says who it is and
// all wait until everybody has come. What can never become a meeting ends in a sentence, for all who wait.
#pragma once
#include <chrono>
#include <mutex>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "common/messages.h"
#include "parallel/process_group.h"

namespace drm {

/// Between two beats of a process's pulse.
constexpr auto kBeat = std::chrono::milliseconds(500);
/// Silence after which a process is taken for dead when nothing else is known.
constexpr auto kSilence = std::chrono::seconds(15);
/// How long the host of the store stays for the others to read why it goes.
constexpr auto kFarewell = std::chrono::seconds(3);

/// When a process's pulse was last seen to beat.
struct Heard {
  int64_t beats = -1;
  std::chrono::steady_clock::time_point at = std::chrono::steady_clock::now();
};

inline std::string text_of(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }
inline std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }
inline std::string key(const char* what, int64_t rank) { return std::string(what) + "/" + std::to_string(rank); }

/// Whether the store answered `call`. One that does not is gone with the process that hosts it, or another program's.
template <class Call>
bool answered(Call&& call) {
  try {
    call();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

class Meeting {
 public:
  using Clock = std::chrono::steady_clock;
  using StorePtr = c10::intrusive_ptr<c10d::Store>;

  explicit Meeting(const GroupPlace& place) : place_(place) {}

  /// Returns when all have come. A store's calls have no end where the other side is silent: it is to be run on a
  /// thread that can be left behind, while another one asks `check_silence`. Throws Failure(PeerLost | Device |
  /// Cancelled).
  void enter(const Control& control);
  /// Throws Failure(PeerLost) when nothing has answered `enter` for too long.
  void check_silence() const;

  /// After `enter`: two connections to the store, since each serves one call at a time, and each process in words.
  StorePtr store, pulse_store;
  std::vector<std::string> who;

 private:
  StorePtr meet(const Control& control, Clock::time_point until);
  [[noreturn]] void refuse_second_host(const std::string& found);
  [[noreturn]] void refuse(const std::string& why);
  void present_oneself();
  void await_all(const Control& control, Clock::time_point until);
  void look_for_dead(std::vector<Heard>& pulses);
  std::string missing();

  bool hosts() const { return place_.rank == 0 && !place_.store_is_there; }
  /// "[parallel] rank 1: MASTER_ADDR:MASTER_PORT 10.0.0.1:29500: "
  std::string here() const;
  std::string where() const { return place_.address + ":" + std::to_string(place_.port); }
  std::string patience() const { return std::to_string(static_cast<int64_t>(place_.patience)) + " s"; }
  std::string two_of(int64_t rank, const std::string& one, const std::string& other) const;
  /// Something has answered; the next answer is due soon.
  void heard();
  Failure no_port(const std::string& found) const;

  const GroupPlace place_;
  mutable std::mutex mutex_;
  Clock::time_point heard_ = Clock::now();
  std::string no_port_;  // why the first process cannot listen
};

}  // namespace drm
