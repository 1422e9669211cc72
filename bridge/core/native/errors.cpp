#include "errors.h"

#include "memory.h"

namespace bridge {

void raise_value(const std::string& text) { throw Error(PyExc_ValueError, text); }
void raise_type(const std::string& text) { throw Error(PyExc_TypeError, text); }
void raise_index(const std::string& text) { throw Error(PyExc_IndexError, text); }
void raise_axis(const std::string& text) { throw Error("AxisError", text); }
void raise_buffer(const std::string& text) { throw Error(PyExc_BufferError, text); }
void raise_copy_required(const std::string& text) { throw Error("CopyRequired", text); }
void raise_dtype(const std::string& text) { throw Error("DTypeError", text); }

std::string message(const std::string& tag, const std::string& problem, const std::string& got, const std::string& want,
                    const std::string& fix) {
  std::string text = "[" + tag + "] " + problem;
  if (!got.empty()) text += "\n  got:  " + got;
  if (!want.empty()) text += "\n  want: " + want;
  if (!fix.empty()) text += "\n  fix:  " + fix;
  return text;
}

void set_python_error(const Error& error) noexcept {
  if (error.type) {
    PyErr_SetString(error.type, error.what());
    return;
  }
  PyObject* module = PyImport_ImportModule("bridge.core.errors");
  PyObject* type = module ? PyObject_GetAttrString(module, error.bridge_class) : nullptr;
  if (type) PyErr_SetString(type, error.what());  // else: the import's own error stands
  Py_XDECREF(type);
  Py_XDECREF(module);
}

void set_python_error_from_current_exception() noexcept {
  try {
    throw;
  } catch (const PythonError&) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_SystemError, "bridge: an error was reported but none is set");
  } catch (const Error& error) { set_python_error(error); } catch (const MemoryLimit& error) {
    PyErr_SetString(PyExc_MemoryError, error.what());
  } catch (const std::bad_alloc&) {
    if (!PyErr_Occurred()) PyErr_NoMemory();
  } catch (const std::exception& error) { PyErr_SetString(PyExc_RuntimeError, error.what()); } catch (...) {
    PyErr_SetString(PyExc_SystemError, "bridge: unknown C++ exception");
  }
}

}  // namespace bridge
