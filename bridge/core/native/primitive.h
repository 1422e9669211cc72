// Native callables: what declare() returns and users call. No Python frame runs per op.
#pragma once
#include "array.h"

namespace bridge {

void make_primitive_type(PyObject* module);
// declare(name, kind, *, arity=None, accepts=0, result="same", plan=None)
PyObject* declare(PyObject* module, PyObject* args, PyObject* keywords);

// structured.cpp: views and structured ops by name.
using NativeCall = PyObject* (*)(PyObject* const* args, Py_ssize_t n, PyObject* names);
NativeCall find_structured(const char* name);  // nullptr when there is none
// a.reshape(2, 3), a.reshape((2, 3)); a.transpose(1, 0), a.transpose((1, 0)), a.transpose()
PyObject* method_reshape(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* names);
PyObject* method_transpose(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* names);

// None: all axes; an int or a sequence of ints. Duplicates raise.
uint32_t axes_mask(PyObject* axis, int ndim, const char* op);

}  // namespace bridge
