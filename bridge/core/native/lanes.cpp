#include "lanes.h"

#include <algorithm>
#include <chrono>

#include "errors.h"

namespace bridge {
namespace {

thread_local const std::atomic<bool>* stop_here = nullptr;

// A thread of a stream gives others a turn at the GIL when it has held it this long.
constexpr auto kTurn = std::chrono::milliseconds(1);

}  // namespace

int n_beside = 0;

const std::atomic<bool>* stop_signal() { return stop_here; }
const std::atomic<bool>* set_stop_signal(const std::atomic<bool>* stop) { return std::exchange(stop_here, stop); }

void Turns::pass() {
  if (n_beside) {
    const auto now = std::chrono::steady_clock::now();
    if (last_ == std::chrono::steady_clock::time_point{}) last_ = now;
    if (now - last_ > kTurn) {
      last_ = now;
      ReleaseGil others;
    }
    if (ending() && on_stream_thread()) throw Stopped{};
  }
  if (PyErr_CheckSignals() < 0) throw PythonError{};
}

Lanes::Lanes(Steps& steps, Groups& groups) : steps_(steps), groups_(groups), unfinished_(groups.size()) {
  std::vector<size_t> lane_of_stream;
  lane_of_group_.resize(groups.size());
  StreamId last = 0;
  bool any_default = false;
  for (size_t g = groups.size(); g-- > 0;) {
    const Node* n = steps[static_cast<size_t>(groups[g].root)].node;
    if (is_placeless(n)) continue;
    const StreamId s = last = n->stream;
    any_default |= s == 0;
    if (s >= lane_of_stream.size()) lane_of_stream.resize(size_t{s} + 1, SIZE_MAX);
    if (lane_of_stream[s] == SIZE_MAX) {
      lane_of_stream[s] = lanes_.size();
      lanes_.push_back(std::make_unique<Lane>());
      lanes_.back()->all = this;
      lanes_.back()->stream = s;
    }
    lane_of_group_[g] = lane_of_stream[s];
  }
  const int own = served_stream();
  if (own >= 0 && static_cast<size_t>(own) < lane_of_stream.size() &&
      lane_of_stream[static_cast<size_t>(own)] != SIZE_MAX)
    last = static_cast<StreamId>(own);
  else if (any_default)
    last = 0;
  home_ = lane_of_stream[last];
  for (size_t g = 0; g < groups.size(); ++g) {
    const Node* n = steps[static_cast<size_t>(groups[g].root)].node;
    if (is_placeless(n)) lane_of_group_[g] = home_;
    lane_of(static_cast<int32_t>(g)).ready.reserve(groups.size());
  }
  find_dependencies();
  for (const auto& lane : lanes_) begin_work(lane->stream);
  ++n_beside;
}

Lanes::~Lanes() {
  --n_beside;
  for (const auto& lane : lanes_) {
    withdraw(lane.get());
    end_work(lane->stream);
  }
  Py_XDECREF(type_);
  Py_XDECREF(value_);
  Py_XDECREF(trace_);
}

void Lanes::find_dependencies() {
  missing_.assign(groups_.size(), 0);
  first_dependent_.assign(groups_.size(), -1);
  for (auto g = static_cast<int32_t>(groups_.size()) - 1; g >= 0; --g) {  // in the order in which they would run
    const Group& group = groups_[static_cast<size_t>(g)];
    for (int32_t i = group.first_member; i >= 0; i = steps_[static_cast<size_t>(i)].next_member) {
      const Node* n = steps_[static_cast<size_t>(i)].node;
      for (uint32_t k = 0; k < n->n_edges; ++k) {
        const int32_t mark = n->edges[k].node->mark;
        const int32_t from = mark > 0 ? steps_[static_cast<size_t>(mark - 1)].group : g;
        if (from == g) continue;
        ++missing_[static_cast<size_t>(g)];
        dependencies_.push_back({g, first_dependent_[static_cast<size_t>(from)]});
        first_dependent_[static_cast<size_t>(from)] = static_cast<int32_t>(dependencies_.size()) - 1;
      }
      if (i == group.root) break;
    }
    if (missing_[static_cast<size_t>(g)] == 0) lane_of(g).ready.push_back(g);
  }
}

void Lanes::run() {
  for (const auto& lane : lanes_)
    if (lane.get() != &home() && lane->has_work()) offer(*lane);
  while (!at_rest()) {
    try {
      if (!failed_ && ending() && on_stream_thread()) throw Stopped{};
      if (Lane* lane = free_lane())
        drive(*lane);
      else
        progress().wait(failed_);
    } catch (...) { fail(); }
  }
  if (!failed_) return;
  if (error_) std::rethrow_exception(error_);
  PyErr_Restore(std::exchange(type_, nullptr), std::exchange(value_, nullptr), std::exchange(trace_, nullptr));
  throw PythonError{};
}

bool Lanes::help() noexcept {
  if (ending() && on_stream_thread()) return false;
  if (on_main_thread()) return false;  // an interrupt would end the evaluation of another thread, and be lost there
  Lane* lane = free_lane();
  if (lane) drive(*lane);
  return lane != nullptr;
}

bool Lanes::at_rest() const {
  return (unfinished_ == 0 || failed_) && !any_driver([](pthread_t) { return true; });
}

Lanes::Lane* Lanes::free_lane() {
  if (failed_) return nullptr;
  if (!home().driven && home().has_work()) return &home();
  for (const auto& lane : lanes_)
    if (!lane->driven && lane->has_work()) return lane.get();
  return nullptr;
}

// Asks the thread of the lane's stream to drive it. Without one it is left to the thread that evaluates.
void Lanes::offer(Lane& lane) {
  if (lane.link || lane.driven) return;
  post(lane.stream, &lane);
  progress().ring();  // its thread may be one of those that wait
}

// Runs what is ready on the lane, in this thread.
void Lanes::drive(Lane& lane) noexcept {
  withdraw(&lane);
  if (lane.driven || failed_) return;
  lane.driven = true;
  lane.driver = pthread_self();
  const auto* before = set_stop_signal(&stop_);
  const bool borrowed = pthread_equal(lane.driver, evaluator_) && &lane != &home();
  borrowing_ |= borrowed;
  Turns turns;
  while (!failed_ && lane.has_work()) {
    if (borrowed && home().has_work() && !home().driven) break;
    if (ending() && on_stream_thread()) break;  // left to the thread that evaluates
    const int32_t g = lane.current = lane.ready[lane.at++];
    try {
      run_group(steps_, groups_[static_cast<size_t>(g)], g);
      release_inputs(steps_, groups_[static_cast<size_t>(g)]);
      lane.current = -1;
      complete(g);
      if (!(ending() && on_stream_thread())) turns.pass();
    } catch (...) {
      lane.current = -1;
      fail();
    }
  }
  set_stop_signal(before);
  lane.driven = false;
  if (borrowed) borrowing_ = false;
  if (!failed_ && lane.has_work()) offer(lane);
  progress().ring();
}

void Lanes::complete(int32_t g) {
  --unfinished_;
  for (int32_t d = first_dependent_[static_cast<size_t>(g)]; d >= 0;) {
    const Dependency& waits = dependencies_[static_cast<size_t>(d)];
    d = waits.next;
    if (--missing_[static_cast<size_t>(waits.group)]) continue;
    Lane& lane = lane_of(waits.group);
    lane.ready.push_back(waits.group);
    if (lane.driven) continue;
    if (&lane == &home() && !borrowing_)
      progress().ring();
    else
      offer(lane);
  }
}

void Lanes::fail() noexcept {
  const bool first = !std::exchange(failed_, true);
  stop_.store(true, std::memory_order_relaxed);
  try {
    throw;
  } catch (const PythonError&) {
    if (first)
      PyErr_Fetch(&type_, &value_, &trace_);
    else
      PyErr_Clear();
  } catch (...) {
    if (first) error_ = std::current_exception();
  }
}

void Lanes::forget_other_threads() noexcept {
  ++n_beside;
  for (const auto& lane : lanes_) {
    lane->link = nullptr;
    begin_work(lane->stream);
    if (!lane->driven || pthread_equal(lane->driver, pthread_self())) continue;
    lane->driven = false;
    if (lane->current >= 0) --lane->at;  // it is the entry before
    lane->current = -1;
  }
}

}  // namespace bridge
