// The pool under ThreadSanitizer: callers that compete, counts that change, work inside work, work that is given up. Exits with 0 if every element was
// visited exactly once; the sanitizer makes any race fatal.
#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include "threads.h"

namespace {

struct Sum {
  std::vector<int>
      visits;  // plain: each element belongs to one chunk, and the pool orders the chunks before the return
  std::atomic<bool> aligned{true};
  int64_t grain;
};

void visit(void* ctx, int64_t begin, int64_t end) {
  auto& sum = *static_cast<Sum*>(ctx);
  if (begin % sum.grain != 0) sum.aligned = false;
  for (int64_t i = begin; i < end; i++) sum.visits[static_cast<size_t>(i)]++;
}

void nested(void* ctx, int64_t begin, int64_t end) {
  (void)begin, (void)end;
  bridge::parallel_for(100, 7, visit, ctx);
}

bool round(int64_t n, int64_t grain) {
  Sum sum{std::vector<int>(static_cast<size_t>(n)), true, grain};
  bridge::parallel_for(n, grain, visit, &sum);
  for (int count : sum.visits)
    if (count != 1) return false;
  return sum.aligned;
}

struct Stop : bridge::Checkpoint {
  int left;
  explicit Stop(int chunks) : left(chunks) {}
  void pass() override {
    if (--left == 0) throw 1;
  }
};

// A job that is given up: no chunk twice, none after the return, and the pool goes on.
bool given_up(int64_t n, int64_t grain) {
  Sum sum{std::vector<int>(static_cast<size_t>(n)), true, grain};
  Stop stop(2);
  bridge::set_checkpoint(&stop);
  bool thrown = false;
  try {
    bridge::parallel_for(n, grain, visit, &sum);
  } catch (int) { thrown = true; }
  bridge::set_checkpoint(nullptr);
  for (int& count : sum.visits)
    if (count++ > 1) return false;
  return thrown == (stop.left == 0);
}

}  // namespace

int main() {
  std::atomic<bool> right{true};
  std::vector<std::thread> callers;
  for (int t = 0; t < 3; t++)
    callers.emplace_back([&right, t] {
      for (int i = 0; i < 300; i++) {
        if (!round(1 + (i * 37 + t) % 5000, 1 + i % 90)) right = false;
        if (!given_up(1 + (i * 41 + t) % 3000, 1 + i % 80)) right = false;
        if (i % 50 == 49) bridge::set_thread_count(1 + (i / 50 + t) % 5);
        if (i % 100 == 99) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // let the workers fall asleep
      }
    });
  for (auto& caller : callers) caller.join();
  Sum inner{std::vector<int>(100), true, 7};
  bridge::set_thread_count(4);
  bridge::parallel_for(1, 1, nested, &inner);
  for (int count : inner.visits) right = right && count == 1;
  std::puts(right ? "right" : "wrong");
  return right ? 0 : 1;
}
