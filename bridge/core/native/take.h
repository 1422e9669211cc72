// The native callables of indexing by arrays, as primitive.h has them.
#pragma once
#include <Python.h>

#include "gather.h"

namespace bridge {

// gather(a, *indices, axes, at), scatter(a, updates, *indices, axes, at, start, step, count): see gather.h.
PyObject* call_gather(PyObject* const* args, Py_ssize_t n, PyObject* names);
template <Combine combine>
PyObject* call_scatter(PyObject* const* args, Py_ssize_t n, PyObject* names);

PyObject* call_take(PyObject* const* args, Py_ssize_t n, PyObject* names);
PyObject* call_take_along_axis(PyObject* const* args, Py_ssize_t n, PyObject* names);
PyObject* call_put_along_axis(PyObject* const* args, Py_ssize_t n, PyObject* names);

PyObject* true_places_of(PyObject* module, PyObject* mask);

}  // namespace bridge
