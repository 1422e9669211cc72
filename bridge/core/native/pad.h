// Padding: pad.cpp.
#pragma once
#include "arguments.h"

namespace bridge {

PyObject* call_padded(Args args, Py_ssize_t n, PyObject* names);

}  // namespace bridge
