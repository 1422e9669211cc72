// Arrays over the bytes of others: bitcast.cpp.
#pragma once
#include "arguments.h"

namespace bridge {

PyObject* call_view(Args args, Py_ssize_t n, PyObject* names);
PyObject* call_contiguous(Args args, Py_ssize_t n, PyObject* names);
PyObject* call_after(Args args, Py_ssize_t n, PyObject* names);

}  // namespace bridge
