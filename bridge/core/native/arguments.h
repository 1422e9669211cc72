// Arguments of native callables: parsed by name, checked, as nodes and numbers. Everything throws.
#pragma once
#include <vector>

#include "array.h"

namespace bridge {

using Args = PyObject* const*;

template <int N>
struct Parsed {
  PyObject* values[N] = {};
  PyObject* operator[](int i) const { return values[i] == Py_None ? nullptr : values[i]; }
};

// Parses `name(a, b, ..., stream=None)`. The stream is the last name, and a keyword: the call is on it already
// (primitive.cpp).
template <int N>
Parsed<N> parse(const char* function, const char* const (&names)[N], int required, int max_positional, Args args,
                Py_ssize_t n, PyObject* keywords) {
  Parsed<N> p;
  parse_arguments({function, names, N, required, max_positional}, args, n, keywords, p.values);
  return p;
}

NodeRef need_array(PyObject*, const char* op);  // an array, or a number as one
std::vector<NodeRef> need_arrays(PyObject*, const char* op);  // a sequence of at least one
int64_t need_int(PyObject*, const char* op, const char* what);

}  // namespace bridge
