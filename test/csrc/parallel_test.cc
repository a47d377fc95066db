// Processes on this machine that train as one would: each test forks its ranks, which meet by Gloo on 127.0.0.1.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

#include "check.h"
#include "parallel/data_parallel.h"
#include "tensor_io/safetensors.h"
#include "train/trainer.h"
#include "train/vae_objective.h"
#include "training.h"

using namespace drm;
using namespace drm::test;
using at::Tensor;

namespace {

int64_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  CHECK(bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  close(fd);
  return ntohs(address.sin_port);
}

using Rank = std::function<void(const std::shared_ptr<Collectives>&, Control&)>;

/// Runs `work` in `size` processes and expects these exit codes. This one computes nothing: threads do not survive a
/// fork.
void fork_ranks(int64_t size, const std::vector<int>& codes, const Rank& work) {
  const auto port = free_port();
  std::vector<pid_t> children;
  for (int64_t rank = 0; rank < size; ++rank) {
    const auto child = fork();
    if (child > 0) {
      children.push_back(child);
      continue;
    }
    int code = 1;
    try {
      at::set_num_threads(1);
      Control control;
      const auto group = ProcessGroup::join({rank, size, "127.0.0.1", port, false, "", 60}, control);
      work(std::dynamic_pointer_cast<Collectives>(group), control);
      code = 0;
    } catch (const std::exception& e) {
      std::fprintf(stderr, "rank %d: %s\n", static_cast<int>(rank), e.what());
    }
    _exit(code);
  }
  std::vector<int> ended;
  for (const auto child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    ended.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
  }
  CHECK(ended == codes);
}

/// Likewise where all come to a good end together.
void in_processes(int64_t size, const Rank& work) {
  fork_ranks(size, std::vector<int>(static_cast<size_t>(size), 0), [&](const auto& group, Control& control) {
    work(group, control);
    group->exchange("the end", control);
    group->leave("", "");
  });
}

std::string scratch(const std::string& name) {
  return (std::filesystem::temp_directory_path() / ("drm-parallel-test-" + std::to_string(getppid()) + "-" + name))
      .string();
}

TrainBatch images(const std::vector<int64_t>& samples, int64_t edge = 16) {
  TrainBatch b;
  b.height = b.width = edge;
  b.samples = samples;
  for (const auto i : samples)
    for (int64_t p = 0; p < edge * edge * 3; ++p) b.pixels.push_back(static_cast<uint8_t>((i * 57 + p * 7919) >> 3));
  return b;
}

TrainerOptions options(bool zero) {
  TrainerOptions o;
  o.seed = 3;
  o.weight_decay = 0.01;
  o.ema_decay = 0.9;
  o.zero = zero;
  return o;
}

Trainer trainer(bool zero = false, std::shared_ptr<Collectives> group = nullptr, const Control& control = {}) {
  const VaeSpec spec{std::string(DRM_GOLDEN) + "/pipeline/vae/config.json", {}, 1, 1, 0.5, 1e-3};
  return {vae_objective(spec, 3, at::kCPU), options(zero), std::move(group), control};
}

std::map<std::string, Tensor> tensors_of(const std::string& path) {
  const auto file = SafetensorsFile::open(path);
  std::map<std::string, Tensor> all;
  for (const auto& [name, info] : file->tensors()) all[name] = file->load(name);
  return all;
}

double seconds_since(std::chrono::steady_clock::time_point began) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

TEST(texts_of_any_length_come_in_the_order_of_ranks) {
  in_processes(3, [](const auto& group, Control& control) {
    for (const size_t length : {size_t{0}, size_t{5}, size_t{1016}, size_t{1017}, size_t{300000}}) {
      const auto text = [&](int64_t rank) {
        std::string all;
        for (size_t i = 0; i < length; i += static_cast<size_t>(rank + 1)) all += static_cast<char>('a' + rank);
        return all;
      };
      const auto all = group->exchange(text(group->rank()), control);
      CHECK_EQ(all.size(), size_t{3});
      for (int64_t r = 0; r < 3; ++r) CHECK(all[static_cast<size_t>(r)] == text(r));
    }
  });
}

TEST(gradients_are_summed_in_buckets_that_leave_while_others_are_computed) {
  in_processes(2, [](const auto& group, Control& control) {
    const auto r = static_cast<double>(group->rank());
    NamedTensors p;
    for (const auto* name : {"first", "of the first rank", "of none", "channels last", "last"})
      p.emplace_back(name, at::ones({2, 4, 3, 3}).requires_grad_(true));
    p[3].second.set_data(p[3].second.detach().contiguous(at::MemoryFormat::ChannelsLast));
    GradientBuckets buckets(p, *group, 2 * 72 * 4);  // two tensors each
    CHECK_EQ(buckets.buckets(), size_t{3});
    for (int round = 0; round < 2; ++round) {
      for (auto& [name, t] : p) t.mutable_grad() = Tensor();
      // An earlier pass of the step, whose gradients wait for the last one.
      (p[0].second.sum() * 10).backward();
      buckets.arm();
      auto loss = p[0].second.sum() * (1 + r) + (p[3].second * at::arange(72).view({2, 4, 3, 3})).sum() * (2 + r) +
                  p[4].second.sum() * (3 + r);
      if (r == 0) loss = loss + p[1].second.sum() * 7;
      loss.backward();
      buckets.finish(control);
      CHECK(buckets.sent_early() >= 1);  // "last" and "channels last"
      CHECK(at::equal(p[0].second.grad(), at::full({2, 4, 3, 3}, 23.0)));
      CHECK(at::equal(p[1].second.grad(), at::full({2, 4, 3, 3}, 7.0)));
      CHECK(!p[2].second.grad().defined());
      CHECK(at::equal(p[3].second.grad(), at::arange(72).view({2, 4, 3, 3}) * 5.0));
      CHECK_EQ(p[3].second.grad().strides(), p[3].second.strides());
      CHECK(at::equal(p[4].second.grad(), at::full({2, 4, 3, 3}, 7.0)));
    }
  });
}

TEST(two_processes_learn_what_one_does_however_the_batch_is_split) {
  const std::vector<std::vector<TrainBatch>> whole{{images({0, 1, 2, 3, 4})}, {images({5, 6, 7})}, {images({8})}};
  const std::vector<std::vector<TrainBatch>> parts[2] = {
      {{images({0}), images({1})}, {images({5, 6})}, {images({8})}},
      {{images({2, 3, 4})}, {images({7})}, {images({})}},
  };
  for (const bool zero : {false, true})
    in_processes(2, [&](const auto& group, Control& control) {
      auto together = trainer(zero, group, control);
      auto alone = trainer();
      for (int64_t i = 0; i < 3; ++i) {
        const auto n = static_cast<size_t>(i);
        const auto a = alone.step(whole[n], i, 1e-3, control);
        const auto b = together.step(parts[group->rank()][n], i, 1e-3, control);
        for (const auto* name : {"loss", "l1", "kl", "grad_norm"})
          CHECK(std::abs(metric(a, name) - metric(b, name)) <= 1e-5 * std::abs(metric(a, name)));
      }
      const auto one = alone.objective().parameters(), two = together.objective().parameters();
      for (size_t i = 0; i < one.size(); ++i) CHECK(at::allclose(one[i].second, two[i].second, 1e-3, 1e-4));
    });
}

TEST(a_sharded_optimizer_is_the_whole_one_to_the_bit_and_so_is_its_file) {
  in_processes(3, [](const auto& group, Control& control) {
    const auto batch = [&](int64_t step) { return std::vector{images({3 * step + group->rank()})}; };
    auto plain = trainer(false, group, control), sharded = trainer(true, group, control);
    const auto step = [&](Trainer& t, int64_t i) { t.step(batch(i), i, 1e-3, control); };
    for (int64_t i = 0; i < 3; ++i) step(plain, i), step(sharded, i);
    const auto a = scratch("plain"), b = scratch("sharded"), c = scratch("resumed");
    plain.save(a, control);
    sharded.save(b, control);
    auto resumed = trainer(true, group, control);
    resumed.restore(a, control);  // the file says nothing of how many had it
    step(plain, 3), step(resumed, 3);
    plain.save(a + ".3", control);
    resumed.save(c, control);
    if (group->rank() != 0) return;
    for (const auto& [one, other] : {std::pair{a, b}, std::pair{a + ".3", c}}) {
      const auto expected = tensors_of(one), found = tensors_of(other);
      CHECK_EQ(found.size(), expected.size());
      for (const auto& [name, t] : expected) CHECK(at::equal(t, found.at(name)));
    }
    for (const auto& file : {a, b, c, a + ".3"}) std::filesystem::remove(file);
  });
}

/// One number, whose gradient is each process's own: at step 2 the last process's is infinite.
class Own final : public Objective {
 public:
  explicit Own(bool breaks) : breaks_(breaks), weight_(at::full({5}, 2.0).requires_grad_(true)) {}
  NamedTensors parameters() override { return {{"weight", weight_}}; }
  Loss loss(const TrainBatch&, const StepKey& key) override {
    const double slope = breaks_ && key.step == 2 ? std::numeric_limits<double>::infinity() : 5;
    return {(weight_.to(at::kHalf).to(at::kFloat) * slope).sum(), {}};
  }
  void export_weights(const std::string&, at::ScalarType) override {}

 private:
  bool breaks_;
  Tensor weight_;
};

TEST(in_fp16_all_processes_skip_the_step_that_overflows_on_one_and_have_one_scale) {
  for (const bool zero : {false, true})
    in_processes(2, [&](const auto& group, Control& control) {
      auto o = options(zero);
      o.dtype = "fp16";
      Trainer t(std::make_unique<Own>(group->rank() == 1), o, group, control);
      const double scale = 8192;  // after steps 0 and 1, whose 2.5 s passes 65504, and step 2
      for (int64_t i = 0; i < 3; ++i) t.step({images({group->rank()})}, i, 1e-2, control);
      const auto before = copies(t);
      const auto m = t.step({images({group->rank()})}, 3, 1e-2, control);
      CHECK_EQ(metric(m, "loss_scale"), scale);
      CHECK_EQ(metric(m, "overflows"), 3.0);
      CHECK(std::abs(metric(m, "grad_norm") - 5 * std::sqrt(5.0)) < 1e-4);
      CHECK(!same(before, copies(t)));
      t.step({images({group->rank()})}, 2, 1e-2, control);  // the infinite one again
      const auto file = scratch("scale");
      t.save(file, control);
      Trainer resumed(std::make_unique<Own>(group->rank() == 1), o, group, control);
      resumed.restore(file, control);
      CHECK(same(copies(t), copies(resumed)));
      for (auto* one : {&t, &resumed}) {
        const auto next = one->step({images({group->rank()})}, 4, 1e-2, control);
        CHECK_EQ(metric(next, "loss_scale"), scale / 2);
        CHECK_EQ(metric(next, "overflows"), 4.0);
      }
      CHECK(same(copies(t), copies(resumed)));
      if (group->rank() == 0) std::filesystem::remove(file);
    });
}

TEST(shards_hold_every_parameter_once_and_about_as_much_each) {
  in_processes(3, [](const auto& group, Control& control) {
    NamedTensors p;
    int64_t numbers = 0;
    for (int64_t i = 0; i < 20; ++i) {
      p.emplace_back(std::to_string(i), at::zeros({100 + 37 * (i % 7)}));
      numbers += p.back().second.numel();
    }
    std::string own;
    int64_t mine = 0;
    const Sharding shards(p, *group);
    for (const auto& [name, t] : shards.own()) own += name + " ", mine += t.numel();
    CHECK(std::abs(static_cast<double>(mine) - static_cast<double>(numbers) / 3) < 200);
    std::multiset<std::string> all;
    for (const auto& text : group->exchange(own, control)) {
      std::istringstream words(text);
      for (std::string word; words >> word;) all.insert(word);
    }
    CHECK_EQ(all.size(), size_t{20});
    for (const auto& [name, t] : p) CHECK_EQ(all.count(name), size_t{1});
  });
}

TEST(the_first_processs_weights_are_what_all_begin_with) {
  in_processes(2, [](const auto& group, Control& control) {
    const VaeSpec spec{std::string(DRM_GOLDEN) + "/pipeline/vae/config.json", {}, 1, 1, 0.5, 1e-3};
    const auto seed = static_cast<uint64_t>(3 + group->rank());
    Trainer t(vae_objective(spec, seed, at::kCPU), options(false), group, control);
    auto expected = vae_objective(spec, 3, at::kCPU)->parameters();
    const auto found = t.objective().parameters();
    for (size_t i = 0; i < found.size(); ++i) CHECK(at::equal(found[i].second, expected[i].second));
  });
}

TEST(a_process_that_is_gone_is_named_in_seconds) {
  fork_ranks(3, {0, 9, 0}, [](const auto& group, Control& control) {
    group->exchange("", control);
    if (group->rank() == 1) _exit(9);  // without a word
    const auto began = std::chrono::steady_clock::now();
    EXPECT_FAILURE(PeerLost, ({"rank 1 (process ", "is gone"}), group->exchange("", control));
    CHECK(seconds_since(began) < 20);
    group->leave("PEER_LOST", "rank 1 is gone");
  });
}

TEST(a_process_that_fails_tells_the_others_why) {
  fork_ranks(2, {0, 0}, [](const auto& group, Control& control) {
    if (group->rank() == 0) return group->leave("DISK", "[out] the disk is full");
    EXPECT_FAILURE(PeerLost, ({"rank 0 (process ", "ended with an error: [out] the disk is full"}),
                   group->watch(control));
  });
}

TEST(waiting_for_the_others_can_be_cancelled_and_ends_with_words) {
  Control control;
  control.cancelled = true;
  const GroupPlace place{0, 2, "127.0.0.1", free_port(), false, "", 60};
  EXPECT_FAILURE(Cancelled, ({}), ProcessGroup::join(place, control));
  control.cancelled = false;
  auto impatient = place;
  impatient.patience = 0.2;
  EXPECT_FAILURE(PeerLost, ({"expected 2 processes (WORLD_SIZE) at 127.0.0.1", "found 1"}),
                 ProcessGroup::join(impatient, control));
  auto odd = place;
  odd.rank = 2;
  EXPECT_FAILURE(BadRequest, ({"RANK below WORLD_SIZE", "2 of 2"}), ProcessGroup::join(odd, control));
}

}  // namespace

DRM_TEST_MAIN
