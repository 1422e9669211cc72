// Random numbers made from keys: random.cpp.
#pragma once
#include "arguments.h"

namespace bridge {

PyObject* call_random_sample(Args args, Py_ssize_t n, PyObject* names);
PyObject* call_random_integers(Args args, Py_ssize_t n, PyObject* names);
PyObject* call_random_permutation(Args args, Py_ssize_t n, PyObject* names);

// next_key(state): splits the key in state[0], the only item of a list, puts the first half back and returns the second:
// no two threads get the same key.
PyObject* next_key(PyObject* module, PyObject* state);

}  // namespace bridge
