// Passes over many rows: one is prepared ahead, and nothing is lost or left running whatever fails, and when.
#include "scorers/passes.h"

#include <ATen/ATen.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "check.h"
#include "models/pass_budget.h"
#include "scorers/distinct.h"

using namespace drm;

namespace {

constexpr int64_t kTokens = 1024;  // 4 rows a pass
const size_t kStep = static_cast<size_t>(rows_per_pass(PassBudget::Scorer, kTokens));

at::Tensor numbers(size_t begin, size_t end) {
  return at::arange(static_cast<int64_t>(begin), static_cast<int64_t>(end), at::kFloat);
}

/// What one run of in_passes() did.
struct Run {
  std::atomic<int> preparing{0}, prepared{0};
  int computed = 0;
  std::vector<int64_t> reported;
  Control control;
  Run() {
    control.on_progress = [this](const Progress& p) { reported.push_back(p.step); };
  }
  at::Tensor operator()(size_t count, const std::function<void(size_t pass)>& on_prepare,
                        const std::function<void(size_t pass)>& on_compute) {
    const auto prepare = [&](size_t begin, size_t end) {
      CHECK_EQ(preparing++, 0);
      const auto rows = numbers(begin, end);
      on_prepare(begin / kStep);
      ++prepared;
      --preparing;
      return rows;
    };
    const auto network = [&](const at::Tensor& ready, size_t begin, size_t end) {
      CHECK(at::equal(ready, numbers(begin, end)));
      CHECK(prepared - computed <= 2);  // its own and the next one's
      on_compute(begin / kStep);
      ++computed;
      return ready * 2;
    };
    return in_passes({"test", "rows"}, count, kTokens, prepare, network, control);
  }
};

const auto kNothing = [](size_t) {};

}  // namespace

TEST(rows_come_in_their_order_whatever_their_number) {
  for (const size_t count : {0, 1, 3, 4, 5, 8, 9, 41}) {
    Run run;
    const auto got = run(count, kNothing, kNothing);
    CHECK_EQ(static_cast<size_t>(got.numel()), count);
    if (count) CHECK(at::equal(got, numbers(0, count) * 2));
    CHECK_EQ(run.reported.size(), (count + kStep - 1) / kStep);
    if (count) CHECK_EQ(run.reported.back(), static_cast<int64_t>(count));
  }
}

TEST(the_next_pass_is_prepared_while_this_one_computes) {
  Run run;
  std::atomic<int> begun{0};
  run(
      3 * kStep, [&](size_t) { ++begun; },
      [&](size_t pass) {
        const auto wanted = pass < 2 ? static_cast<int>(pass) + 2 : 3;
        for (int i = 0; begun < wanted && i < 5000; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        CHECK_EQ(begun.load(), wanted);  // it came without waiting for us
      });
}

TEST(a_failure_comes_in_its_turn_and_nothing_is_left_running) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    const size_t passes = 1 + random() % 6, fails = random() % passes;
    const bool in_preparation = random() % 2;
    const auto slow = random() % 3;
    const auto wait = [&](bool here) {
      if (here) std::this_thread::sleep_for(std::chrono::microseconds(200));
    };
    Run run;
    const auto fail = [&](const char* what) { throw Failure(Code::BadRequest, what); };
    EXPECT_FAILURE(BadRequest, ({in_preparation ? "a bad image" : "a bad network"}),
                   run(
                       passes * kStep,
                       [&](size_t pass) {
                         wait(slow == 1);
                         if (in_preparation && pass == fails) {
                           --run.preparing;
                           fail("a bad image");
                         }
                       },
                       [&](size_t pass) {
                         wait(slow == 2);
                         if (!in_preparation && pass == fails) fail("a bad network");
                       }));
    CHECK_EQ(run.computed, static_cast<int>(fails));
    CHECK_EQ(run.reported.size(), fails);
    CHECK_EQ(run.preparing.load(), 0);
  }
}

TEST(cancelling_stops_before_the_next_pass) {
  Run run;
  EXPECT_FAILURE(Cancelled, ({"cancelled"}), run(5 * kStep, kNothing, [&](size_t pass) {
                   if (pass == 1) run.control.cancelled = true;
                 }));
  CHECK_EQ(run.computed, 2);
  CHECK_EQ(run.preparing.load(), 0);
}

TEST(numbers_that_are_none_are_refused) {
  Control control;
  const auto prepare = [](size_t begin, size_t end) { return numbers(begin, end); };
  const auto network = [](const at::Tensor& ready, size_t, size_t) { return ready.log(); };
  EXPECT_FAILURE(NotFinite, ({"[test] rows", "damaged"}),
                 in_passes({"test", "rows"}, 2, kTokens, prepare, network, control));
}

TEST(equal_items_are_told_by_their_content) {
  const auto d = distinct(std::vector<std::vector<int64_t>>{{1, 2}, {3}, {1, 2}, {}, {3}, {1}});
  CHECK(d.first == (std::vector<size_t>{0, 1, 3, 5}));
  CHECK(d.of == (std::vector<size_t>{0, 1, 0, 2, 1, 3}));
  const Bitmap wide{std::vector<uint8_t>(6), 1, 2, 3}, tall{std::vector<uint8_t>(6), 2, 1, 3};
  CHECK(distinct(std::vector<Bitmap>{wide, tall, wide}).of == (std::vector<size_t>{0, 1, 0}));
}

DRM_TEST_MAIN
