// Errors on their way to Python. Code that holds the GIL throws Error (a Python exception type and a text) or
// PythonError (one is set already); every slot handed to CPython wraps its body in guard().
#pragma once
#include <Python.h>
#include <unistd.h>

#include <new>
#include <stdexcept>
#include <string>

namespace bridge {

struct PythonError {};  // a Python exception is set

struct Error : std::runtime_error {
  // Name of a class in bridge.core.errors, or nullptr with a builtin type.
  Error(PyObject* type, const std::string& text) : std::runtime_error(text), type(type) {}
  Error(const char* bridge_class, const std::string& text) : std::runtime_error(text), bridge_class(bridge_class) {}
  PyObject* type = nullptr;
  const char* bridge_class = nullptr;
};

[[noreturn]] void raise_value(const std::string& text);
[[noreturn]] void raise_type(const std::string& text);
[[noreturn]] void raise_index(const std::string& text);
[[noreturn]] void raise_axis(const std::string& text);  // both ValueError and IndexError, like NumPy's AxisError
[[noreturn]] void raise_buffer(const std::string& text);
[[noreturn]] void raise_copy_required(const std::string& text);
[[noreturn]] void raise_dtype(const std::string& text);

// "[tag] problem.\n  got:  ...\n  want: ...\n  fix:  ...", empty parts left out.
std::string message(const std::string& tag, const std::string& problem, const std::string& got = "",
                    const std::string& want = "", const std::string& fix = "");

void set_python_error(const Error&) noexcept;
void set_python_error_from_current_exception() noexcept;

// The result of body(), or `failed` with a Python error set.
template <class R, class F>
R guard(R failed, F&& body) noexcept {
  try {
    return body();
  } catch (...) {
    set_python_error_from_current_exception();
    return failed;
  }
}

// Owns one reference. The GIL is held.
class Ref {
 public:
  Ref() = default;
  explicit Ref(PyObject* stolen) : object_(stolen) {}
  Ref(Ref&& other) noexcept : object_(other.object_) { other.object_ = nullptr; }
  Ref& operator=(Ref&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  Ref(const Ref&) = delete;
  ~Ref() { Py_XDECREF(object_); }
  static Ref borrow(PyObject* o) { return Ref(Py_XNewRef(o)); }
  static Ref check(PyObject* stolen) {
    if (!stolen) throw PythonError{};
    return Ref(stolen);
  }
  PyObject* get() const { return object_; }
  PyObject* release() {
    PyObject* o = object_;
    object_ = nullptr;
    return o;
  }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

// The GIL is released for the life of this object.
class ReleaseGil {
 public:
  ReleaseGil() : state_(PyEval_SaveThread()) {}
  ~ReleaseGil() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      // The interpreter is ending and CPython called pthread_exit() on this (daemon) thread. Unwinding would run the
      // engine's destructors without the GIL, so the thread stays here until the process is gone
      // (tests/memory/test_lifetime.py: a daemon thread at work).
      for (;;) pause();
    }
  }
  ReleaseGil(const ReleaseGil&) = delete;

  // body() with the GIL. Only where no interpreter can be ending: in its main thread.
  template <class F>
  void with_gil(F&& body) {
    PyEval_RestoreThread(state_);
    body();
    state_ = PyEval_SaveThread();
  }

 private:
  PyThreadState* state_;
};

}  // namespace bridge
