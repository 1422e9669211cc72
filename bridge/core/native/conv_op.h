// The native callable of conv_general.
#pragma once
#include "primitive.h"

namespace bridge {

PyObject* call_conv_general(PyObject* const* args, Py_ssize_t n, PyObject* names);

}  // namespace bridge
