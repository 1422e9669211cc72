// Native callables of matrix products whose operands are chosen by indices.
#pragma once
#include "primitive.h"

namespace bridge {

PyObject* call_matmul_gathered(PyObject* const* args, Py_ssize_t n, PyObject* names);
PyObject* call_segmented_mm(PyObject* const* args, Py_ssize_t n, PyObject* names);

}  // namespace bridge
