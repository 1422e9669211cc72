// Iteration over the first axis of an array.
#pragma once
#include <Python.h>

namespace bridge {

void make_iterator_type(PyObject* module);
PyObject* array_iter(PyObject* array);

}  // namespace bridge
