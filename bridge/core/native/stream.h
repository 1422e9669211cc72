// Streams: queues of work that run beside each other. A node carries the stream that it is put on; what of one
// evaluation is on different streams runs on different threads (lanes.h). Everything here is under the GIL.
//
// Stream 0 is the default stream: its work runs in the thread that asks for it, and on a thread of its own only when it
// is computed in the background. Every other stream has a thread, started with its first task and kept until the stream
// is closed. These threads are the interpreter's (_thread.start_new_thread), so that it knows them when it ends or
// forks; they take no signals.
#pragma once
#include <Python.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace bridge {

using StreamId = uint16_t;

// What threads wait for: something that is under the GIL has changed.
class Bell {
 public:
  void ring() {  // the GIL is held
    if (n_waiting_) ring_for_all();
  }
  // Lets the GIL go until the next ring. In the main thread signals are looked after meanwhile, unless `through`: an
  // exception that their handlers raise is thrown.
  void wait(bool through = false);

 private:
  void ring_for_all();
  struct Waiters {
    std::mutex lock;
    std::condition_variable changed;
    uint64_t count = 0;
  };
  Waiters* waiters_ = new Waiters;  // never destroyed: threads may wait when the process ends
  int n_waiting_ = 0;

 public:
  void forget_waiting() noexcept;  // in the child of a fork: threads that are gone may have held the lock
};
// Rung whenever an evaluation, a part of it on one stream, or a task has ended. Never destroyed.
extern Bell* const progress_bell;
inline Bell& progress() { return *progress_bell; }

bool on_main_thread();  // of the process, where Python handles signals

// ---- the stream on which this thread puts the nodes that it makes

extern int n_scoped;  // threads that put them on another stream than the default one
StreamId scoped_stream();
inline StreamId current_stream() { return n_scoped ? scoped_stream() : 0; }
StreamId set_current_stream(StreamId);  // the one before

class StreamScope {
 public:
  explicit StreamScope(StreamId stream) : before_(set_current_stream(stream)) {}
  ~StreamScope() { set_current_stream(before_); }
  StreamScope(const StreamScope&) = delete;

 private:
  StreamId before_;
};

// The stream that a `stream=` argument stands for (bridge.core.devices.number); None and nullptr: the current one.
StreamId stream_of(PyObject* argument);

// ---- tasks

struct Task {
  virtual ~Task() = default;
  virtual void run() noexcept = 0;  // on the stream's thread, with the GIL; may delete the task
  virtual void forget() noexcept {}  // in the child of a fork: the thread that was to run it is gone
  Task* next = nullptr;
  Task** link = nullptr;  // nullptr: in no queue
};

StreamId new_stream();
void close_stream(StreamId);  // its thread ends when its tasks have; the number is used again
bool post(StreamId, Task*);  // false: no thread can be started, the task is not taken
void withdraw(Task*) noexcept;  // out of its queue, if it is in one
// What synchronize() waits for: tasks and parts of evaluations that have begun and not ended.
void begin_work(StreamId) noexcept;
void end_work(StreamId) noexcept;
void synchronize(StreamId);
int served_stream();  // of which this is the thread, or -1
inline bool on_stream_thread() { return served_stream() >= 0; }
// The interpreter is about to end: the threads of streams leave their work.
bool ending();
const std::atomic<bool>* ending_signal();

void forget_stream_threads() noexcept;  // in the child of a fork

void add_streams(PyObject* module);

}  // namespace bridge
