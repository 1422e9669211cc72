// The kernels of one evaluation, when they are on several streams: a lane for each. One thread at a time drives a lane:
// the stream's own, or the one that evaluates or waits for it, which takes what nobody has taken yet. So an
// evaluation ends whatever the threads of its streams are doing. All of it is under the GIL; kernels run without it.
#pragma once
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <vector>

#include "eval.h"
#include "stream.h"

namespace bridge {

class Lanes {
 public:
  Lanes(Steps&, Groups&);
  ~Lanes();
  Lanes(const Lanes&) = delete;

  // Runs all groups. When one fails no other is begun, and once those at work have ended its error is thrown.
  void run();

  // Drives a lane that nobody has taken, in a thread that waits for the evaluation. False: there is none.
  bool help() noexcept;

  // visit(thread) for each thread that is at work, until it gives true.
  template <class F>
  bool any_driver(F&& visit) const {
    for (const auto& lane : lanes_)
      if (lane->driven && visit(lane->driver)) return true;
    return false;
  }
  void forget_other_threads() noexcept;  // in the child of a fork: what they had begun is to be done again

 private:
  struct Lane final : Task {
    Lanes* all = nullptr;
    StreamId stream = 0;
    std::vector<int32_t> ready;  // groups, from `at` on
    size_t at = 0;
    bool driven = false;
    pthread_t driver{};
    int32_t current = -1;  // group that runs
    bool has_work() const { return at < ready.size(); }
    void run() noexcept override { all->drive(*this); }
  };
  struct Dependency { int32_t group, next; };  // a group that waits for another, and the next that waits for it

  Lane& lane_of(int32_t group) { return *lanes_[lane_of_group_[static_cast<size_t>(group)]]; }
  Lane& home() { return *lanes_[home_]; }
  void find_dependencies();
  void drive(Lane&) noexcept;
  void complete(int32_t group);
  void offer(Lane&);
  Lane* free_lane();
  bool at_rest() const;
  void fail() noexcept;  // in a handler

  Steps& steps_;
  Groups& groups_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<size_t> lane_of_group_;
  std::vector<int32_t> missing_;  // of a group: edges from groups that have not run
  std::vector<int32_t> first_dependent_;
  std::vector<Dependency> dependencies_;
  size_t home_ = 0;  // lane of the thread that evaluates
  pthread_t evaluator_ = pthread_self();
  size_t unfinished_;
  bool failed_ = false;
  bool borrowing_ = false;  // the evaluator drives another lane than its own
  std::atomic<bool> stop_{false};
  std::exception_ptr error_;
  PyObject *type_ = nullptr, *value_ = nullptr, *trace_ = nullptr;
};

// Evaluations and tasks that run beside other threads: they let the GIL go more readily.
extern int n_beside;

struct Stopped {};  // thrown where work is given up that nobody waits for any more

// Set for a thread that drives a lane, or works in the background: its kernels are to stop. May be nullptr.
const std::atomic<bool>* stop_signal();
const std::atomic<bool>* set_stop_signal(const std::atomic<bool>*);  // the one before

// Between two kernels of a thread: others get their turn at the GIL, signals are handled. May throw.
class Turns {
 public:
  void pass();

 private:
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace bridge
