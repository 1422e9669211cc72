// Native callables of the cumulative operations.
#pragma once
#include <Python.h>

namespace bridge {

PyObject* call_cumsum(PyObject* const* args, Py_ssize_t n, PyObject* names);
PyObject* call_cumprod(PyObject* const* args, Py_ssize_t n, PyObject* names);
PyObject* call_cummax(PyObject* const* args, Py_ssize_t n, PyObject* names);
PyObject* call_cummin(PyObject* const* args, Py_ssize_t n, PyObject* names);
PyObject* call_logcumsumexp(PyObject* const* args, Py_ssize_t n, PyObject* names);

}  // namespace bridge
