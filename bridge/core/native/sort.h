// Native callables of sorting and searching.
#pragma once
#include <Python.h>

namespace bridge {

PyObject* call_sort(PyObject* const* args, Py_ssize_t n, PyObject* names);
PyObject* call_argsort(PyObject* const* args, Py_ssize_t n, PyObject* names);
PyObject* call_partition(PyObject* const* args, Py_ssize_t n, PyObject* names);
PyObject* call_argpartition(PyObject* const* args, Py_ssize_t n, PyObject* names);
PyObject* call_searchsorted(PyObject* const* args, Py_ssize_t n, PyObject* names);

}  // namespace bridge
