// Host ops: Python functions over NumPy arrays as nodes of the graph. They run on the thread that evaluates, with the
// GIL held and no lock of the engine, on read-only views of their operands; what they return is copied once.
#pragma once
#include <Python.h>

#include <string>

#include "node.h"

namespace bridge {

// host(function, operands, results, stream): see bind.cpp.
PyObject* host(PyObject* module, PyObject* const* args, Py_ssize_t n);

void run_host(Node*);
// `keep`: the part stays evaluated whatever happens, so its result is taken out of the operand.
void run_host_part(Node*, bool keep);
std::string describe_host(const Node*);  // for the log of kernels

// Drops a list of attributes with the functions that they hold. May run any Python code; an error that is set stays.
void drop_functions(Attributes*) noexcept;

}  // namespace bridge
