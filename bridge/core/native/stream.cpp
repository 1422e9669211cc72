#include "stream.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "array.h"
#include "errors.h"
#include "eval.h"
#include "lanes.h"

namespace bridge {
namespace {

constexpr auto kLookAfterSignals = std::chrono::milliseconds(50);

struct Stream {
  Task* first = nullptr;
  Task** end = &first;
  int unfinished = 0;  // of begin_work()
  bool open = false;
  uint64_t thread = 0;  // that serves it; 0: none. Another one takes over from a thread that is still at work
  Bell wake;
};

// Never destroyed: threads wait in them when the process ends.
std::vector<Stream*>& streams() {
  static std::vector<Stream*>& all = *new std::vector<Stream*>{new Stream};
  return all;
}

PyObject* number_of = nullptr;  // bridge.core.devices.number

thread_local StreamId scoped = 0;
thread_local int serving = -1;  // stream
int n_serving = 0;  // threads, from their start on
std::atomic<bool> is_ending{false};

void append(Stream& s, Task* t) {
  t->next = nullptr;
  t->link = s.end;
  *s.end = t;
  s.end = &t->next;
}

// Nobody else may take the signals that Python handles in its main thread.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

bool start_thread(StreamId id) {
  static uint64_t n_started = 0;
  const uint64_t thread = ++n_started;
  SignalsBlocked in_the_new_thread;  // which inherits the mask
  Ref module(PyImport_ImportModule("_thread")), native(PyImport_ImportModule("bridge.core._native"));
  Ref serve(native ? PyObject_GetAttrString(native.get(), "_serve_stream") : nullptr);
  Ref arguments(Py_BuildValue("(iK)", static_cast<int>(id), static_cast<unsigned long long>(thread)));
  Ref started(module && serve && arguments
                  ? PyObject_CallMethod(module.get(), "start_new_thread", "OO", serve.get(), arguments.get())
                  : nullptr);
  if (!started) {
    PyErr_Clear();  // no more threads, or the interpreter is ending: the caller does without
    return false;
  }
  streams()[id]->thread = thread;
  ++n_serving;
  return true;
}

// The life of a stream's thread.
PyObject* serve_stream(PyObject*, PyObject* arguments) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    int id;
    unsigned long long thread;
    if (!PyArg_ParseTuple(arguments, "iK", &id, &thread)) throw PythonError{};
    Stream& s = *streams()[static_cast<size_t>(id)];
    serving = id;
    for (;;) {
      while (Task* t = is_ending ? nullptr : s.first) {
        withdraw(t);
        t->run();
      }
      if (s.thread != thread || is_ending) break;  // closed
      s.wake.wait(true);
    }
    --n_serving;
    progress().ring();
    return Py_NewRef(Py_None);
  });
}

Stream& at(PyObject* number) {
  size_t id = PyLong_AsSize_t(number);
  if (id == static_cast<size_t>(-1) && PyErr_Occurred()) throw PythonError{};
  if (id >= streams().size()) raise_value("[bridge] there is no stream of that number.");
  return *streams()[id];
}

StreamId id_of(PyObject* number) {
  at(number);
  return static_cast<StreamId>(PyLong_AsSize_t(number));
}

PyObject* set_number_of(PyObject*, PyObject* function) {
  Py_XSETREF(number_of, Py_NewRef(function));
  Py_RETURN_NONE;
}

PyObject* py_new_stream(PyObject*, PyObject*) {
  return guard(static_cast<PyObject*>(nullptr), [] { return PyLong_FromLong(new_stream()); });
}

PyObject* py_close_stream(PyObject*, PyObject* number) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    close_stream(id_of(number));
    return Py_NewRef(Py_None);
  });
}

PyObject* py_set_current(PyObject*, PyObject* number) {
  return guard(static_cast<PyObject*>(nullptr), [&] { return PyLong_FromLong(set_current_stream(id_of(number))); });
}

PyObject* stream_number(PyObject*, PyObject* a) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (!is_array(a)) raise_type("[bridge] the argument is not a bridge array.");
    return PyLong_FromLong(node_of(a)->stream);
  });
}

PyObject* py_synchronize(PyObject*, PyObject* number) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    synchronize(id_of(number));
    return Py_NewRef(Py_None);
  });
}

// Python code is about to be taken down: threads in the middle of it would be stopped where they stand.
PyObject* end_streams(PyObject*, PyObject*) {
  return guard(static_cast<PyObject*>(nullptr), [] {
    constexpr auto kPatience = std::chrono::seconds(2);  // of a process that ends, with a long host function
    is_ending = true;
    for (Stream* s : streams()) s->wake.ring();
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (n_serving > 0 && std::chrono::steady_clock::now() < until) progress().wait();
    return Py_NewRef(Py_None);
  });
}

PyMethodDef methods[] = {
    {"_end_streams", end_streams, METH_NOARGS, "_end_streams()\n--\n\nEnds the threads of all streams: at exit."},
    {"_new_stream", py_new_stream, METH_NOARGS, "_new_stream()\n--\n\nThe number of a new stream of the CPU."},
    {"_close_stream", py_close_stream, METH_O,
     "_close_stream(number, /)\n--\n\nEnds the stream's thread once its work is done, and frees the number."},
    {"_set_current_stream", py_set_current, METH_O,
     "_set_current_stream(number, /)\n--\n\nPuts what this thread makes on a stream. Returns the one before."},
    {"_set_number_of", set_number_of, METH_O,
     "_set_number_of(function, /)\n--\n\nThe function that gives the number of what `stream=` is."},
    {"_stream_number", stream_number, METH_O,
     "_stream_number(a, /)\n--\n\nThe number of the stream that the array's last op is put on."},
    {"_synchronize", py_synchronize, METH_O, "_synchronize(number, /)\n--\n\nWaits for the work of a stream."},
    {"_serve_stream", serve_stream, METH_VARARGS,
     "_serve_stream(number, thread, /)\n--\n\nRuns the tasks of a stream until it is closed."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void Bell::ring_for_all() {
  std::lock_guard guard(waiters_->lock);
  ++waiters_->count;
  waiters_->changed.notify_all();
}

void Bell::wait(bool through) {
  // The GIL was held since the caller found nothing, and rings come under the GIL: none can have been missed.
  ++n_waiting_;
  const uint64_t seen = waiters_->count;
  const bool signals = !through && on_main_thread();
  {
    ReleaseGil released;
    Waiters& w = *waiters_;
    std::unique_lock guard(w.lock);
    auto rung = [&] { return w.count != seen; };
    if (signals)
      w.changed.wait_for(guard, kLookAfterSignals, rung);
    else
      w.changed.wait(guard, rung);
  }
  --n_waiting_;
  if (signals && PyErr_CheckSignals() < 0) throw PythonError{};
}

void Bell::forget_waiting() noexcept {
  if (auto* fresh = new (std::nothrow) Waiters) waiters_ = fresh;
  n_waiting_ = 0;
}

Bell* const progress_bell = new Bell;

bool on_main_thread() {
#if defined(__linux__)
  return syscall(SYS_gettid) == getpid();
#else
  return pthread_main_np() != 0;
#endif
}

int n_scoped = 0;

StreamId scoped_stream() { return scoped; }

StreamId set_current_stream(StreamId stream) {
  const StreamId before = scoped;
  n_scoped += (stream != 0) - (before != 0);
  scoped = stream;
  return before;
}

StreamId stream_of(PyObject* argument) {
  if (!argument || argument == Py_None) return current_stream();
  Ref id = Ref::check(PyObject_CallOneArg(number_of, argument));
  return id_of(id.get());
}

StreamId new_stream() {
  auto& all = streams();
  for (size_t id = 1; id < all.size(); ++id) {
    Stream& s = *all[id];
    if (s.open || s.thread || s.unfinished) continue;
    s.open = true;
    return static_cast<StreamId>(id);
  }
  if (all.size() > UINT16_MAX) raise_value("[bridge.new_stream] there are 65535 streams already.");
  all.push_back(new Stream);
  all.back()->open = true;
  return static_cast<StreamId>(all.size() - 1);
}

void close_stream(StreamId id) {
  Stream& s = *streams()[id];
  s.open = false;
  s.thread = 0;  // as soon as the queue is empty
  s.wake.ring();
}

bool post(StreamId id, Task* t) {
  Stream& s = *streams()[id];
  if (is_ending) return false;
  if (!s.thread && !start_thread(id)) return false;
  append(s, t);
  s.wake.ring();
  return true;
}

void withdraw(Task* t) noexcept {
  if (!t->link) return;
  *t->link = t->next;
  if (t->next) {
    t->next->link = t->link;
  } else {
    for (Stream* s : streams())
      if (s->end == &t->next) s->end = t->link;
  }
  t->next = nullptr;
  t->link = nullptr;
}

void begin_work(StreamId id) noexcept { ++streams()[id]->unfinished; }

void end_work(StreamId id) noexcept {
  Stream& s = *streams()[id];
  if (s.unfinished > 0 && --s.unfinished == 0) progress().ring();  // 0 already: a fork has come between
}

void synchronize(StreamId id) {
  if (evaluates_here())
    throw Error("BridgeError", message("bridge.synchronize",
                                       "this code runs as a part of an evaluation, which would "
                                       "wait for itself."));
  while (streams()[id]->unfinished) progress().wait();
}

int served_stream() { return serving; }
bool ending() { return is_ending.load(std::memory_order_relaxed); }
const std::atomic<bool>* ending_signal() { return &is_ending; }

void forget_stream_threads() noexcept {
  n_serving = serving >= 0;
  progress().forget_waiting();
  n_scoped = scoped != 0;
  for (Stream* s : streams()) {
    s->thread = 0;
    s->unfinished = 0;
    s->wake.forget_waiting();
    while (Task* t = s->first) {
      withdraw(t);
      t->forget();
    }
  }
}

void add_streams(PyObject* module) {
  if (PyModule_AddFunctions(module, methods) < 0) throw PythonError{};
  Ref atexit = Ref::check(PyImport_ImportModule("atexit"));
  Ref end = Ref::check(PyObject_GetAttrString(module, "_end_streams"));
  Ref::check(PyObject_CallMethod(atexit.get(), "register", "O", end.get()));
}

}  // namespace bridge
