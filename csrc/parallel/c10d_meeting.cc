#include "parallel/c10d_meeting.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

namespace drm {
namespace {

using namespace std::chrono_literals;

/// What listens at the meeting place and does not answer as a store within this time is another program.
constexpr auto kStrange = 20s;

std::string this_process() {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  return "process " + std::to_string(getpid()) + " on " + host;
}

/// Whether anything accepts connections there, found out within two seconds an address.
bool somebody_listens(const std::string& host, int64_t port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return false;
  bool yes = false;
  for (const auto* at = found; at != nullptr && !yes; at = at->ai_next) {
    const int fd = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
    if (fd < 0) continue;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    pollfd ready{fd, POLLOUT, 0};
    int error = 0;
    socklen_t size = sizeof error;
    yes = ::connect(fd, at->ai_addr, at->ai_addrlen) == 0 ||
          (errno == EINPROGRESS && poll(&ready, 1, 2000) == 1 &&
           getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0);
    close(fd);
  }
  freeaddrinfo(found);
  return yes;
}

/// One try, of a few seconds where the other side says anything at all.
Meeting::StorePtr connect(const GroupPlace& place, bool as_host) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(place.port);
  options.isServer = as_host;
  options.numWorkers = static_cast<size_t>(place.size);
  options.waitWorkers = false;
  options.timeout = 5s;
  Meeting::StorePtr tcp = c10::make_intrusive<c10d::TCPStore>(place.address, options);
  return c10::make_intrusive<c10d::PrefixStore>("drm/" + place.attempt, tcp);
}

}  // namespace

void Meeting::enter(const Control& control) {
  const auto until = Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(1000 * place_.patience));
  store = meet(control, until);
  try {
    pulse_store = connect(place_, false);
    store->setTimeout(60s);
    present_oneself();
    await_all(control, until);
    for (int64_t r = 0; r < place_.size; ++r) who.push_back(text_of(store->get(key("who", r))));
    heard();
  } catch (const Failure& f) {
    if (f.code == Code::Cancelled && !hosts())
      store->set("refused", bytes_of("[parallel] rank " + std::to_string(place_.rank) + " (" + this_process() +
                                     ") was stopped before all had come; start all of them again"));
    throw;
  } catch (const std::exception& e) {
    throw Failure(Code::PeerLost, here() + "expected rank 0 to stay until all have come, found " +
                                      first_line(e.what()) + "; see why it ended, then start all of them again");
  }
}

void Meeting::check_silence() const {
  const std::lock_guard lock(mutex_);
  if (Clock::now() - heard_ < kStrange) return;
  if (!no_port_.empty()) throw no_port(no_port_);
  throw Failure(Code::PeerLost,
                here() +
                    "expected rank 0 to answer there, found silence, as of another program that holds the port "
                    "or of a process that is stopped; choose a free MASTER_PORT for all processes and start "
                    "them again");
}

std::string Meeting::here() const {
  return "[parallel] rank " + std::to_string(place_.rank) + ": MASTER_ADDR:MASTER_PORT " + where() + ": ";
}

std::string Meeting::two_of(int64_t rank, const std::string& one, const std::string& other) const {
  return "[parallel] RANK " + std::to_string(rank) + " at " + where() + ": expected one process of that rank, found " +
         one + " and " + other + "; give each its own RANK, and each training its own MASTER_PORT";
}

void Meeting::heard() {
  const std::lock_guard lock(mutex_);
  heard_ = Clock::now();
}

Meeting::StorePtr Meeting::meet(const Control& control, Clock::time_point until) {
  int strange = 0;  // tries, of some seconds each, in which something listened there that was no store
  for (std::string found = "nobody there";; std::this_thread::sleep_for(200ms)) {
    control.check();
    // Until somebody listens there is nothing to say, and c10d would say it in many words.
    if (hosts() || somebody_listens(place_.address, place_.port)) {
      try {
        return connect(place_, hosts());
      } catch (const std::exception& e) {
        found = first_line(e.what());
      }
      if (hosts()) refuse_second_host(found);
      if (++strange == 3)
        throw Failure(Code::PeerLost, here() + "expected rank 0 there, found another program (" + found +
                                          "); choose a free MASTER_PORT for all processes");
    } else {
      strange = 0;
      found = "nobody there";
    }
    heard();
    if (Clock::now() >= until)
      throw Failure(Code::PeerLost, here() + "expected rank 0 there within " + patience() + ", found " + found +
                                        "; was it started, and may its machine be reached from this one?");
  }
}

Failure Meeting::no_port(const std::string& found) const {
  return {Code::Device, here() + "expected an address of this machine with a free port, found " + found +
                            "; set others, for all processes"};
}

/// The first process cannot listen. If it is another first process that does, both were started wrongly and hear it.
void Meeting::refuse_second_host(const std::string& found) {
  {
    const std::lock_guard lock(mutex_);
    no_port_ = found;
  }
  std::string both;
  answered([&] {
    const auto other = connect(place_, false);
    if (!other->check({key("who", 0)})) return;
    both = two_of(0, text_of(other->get(key("who", 0))), this_process());
    other->set("refused", bytes_of(both));
  });
  if (!both.empty()) throw Failure(Code::Device, both);
  throw no_port(found);
}

/// What makes the meeting impossible ends it for all.
void Meeting::refuse(const std::string& why) {
  store->set("refused", bytes_of(why));
  if (hosts()) std::this_thread::sleep_for(kFarewell);
  throw Failure(Code::PeerLost, why);
}

void Meeting::present_oneself() {
  const auto rank = place_.rank;
  if (store->add(key("claims", rank), 1) > 1)
    refuse(two_of(rank, text_of(store->get(key("who", rank))), this_process()));
  store->set(key("who", rank), bytes_of(this_process()));
  const auto mine = std::to_string(place_.size);
  if (const auto first = text_of(store->compareSet("size", {}, bytes_of(mine))); first != mine)
    refuse("[parallel] WORLD_SIZE at " + where() + ": expected the same of all processes, found " + first + ", and " +
           mine + " of rank " + std::to_string(rank) + "; start all of them with the same");
  store->add("came", 1);
  heard();
}

void Meeting::await_all(const Control& control, Clock::time_point until) {
  std::vector<Heard> pulses(static_cast<size_t>(place_.size));
  for (auto next = Clock::now();; std::this_thread::sleep_for(50ms)) {
    control.check();
    if (store->check({"refused"})) refuse(text_of(store->get("refused")));
    const auto came = store->add("came", 0);
    heard();
    if (came >= place_.size) return;
    if (Clock::now() >= until)
      refuse("[parallel] expected " + std::to_string(place_.size) + " processes (WORLD_SIZE) at " + where() +
             ", found " + std::to_string(came) + " after " + patience() + "; missing: rank " + missing() +
             "; start them with the same MASTER_ADDR and MASTER_PORT, or see why they ended");
    if (Clock::now() < next) continue;
    next = Clock::now() + kBeat;
    store->add(key("pulse", place_.rank), 1);
    if (place_.rank == 0) look_for_dead(pulses);
  }
}

/// The first process listens to those that have come while the others are waited for.
void Meeting::look_for_dead(std::vector<Heard>& pulses) {
  for (int64_t r = 1; r < place_.size; ++r) {
    auto& last = pulses[static_cast<size_t>(r)];
    if (!store->check({key("who", r)})) {
      last.at = Clock::now();
      continue;
    }
    if (const auto beats = store->add(key("pulse", r), 0); beats != last.beats) last = {beats, Clock::now()};
    if (Clock::now() - last.at > kSilence)
      refuse("[parallel] rank " + std::to_string(r) + " (" + text_of(store->get(key("who", r))) +
             ") is gone: it came to " + where() + " and then gave no sign of life for " +
             std::to_string(kSilence.count()) +
             " s, before all had come; see why it ended, then start all of them again");
  }
}

/// Ranks that have not come, the first few of them.
std::string Meeting::missing() {
  std::string ranks;
  int64_t count = 0;
  for (int64_t r = 0; r < place_.size; ++r)
    if (!store->check({key("who", r)}) && ++count <= 8) ranks += (count > 1 ? ", " : "") + std::to_string(r);
  return ranks + (count > 8 ? " and " + std::to_string(count - 8) + " more" : "");
}

}  // namespace drm
