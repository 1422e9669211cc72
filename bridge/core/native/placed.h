#pragma once
#include <Python.h>

namespace bridge {

// The type `Placed` and the function `place`: see bind.cpp and bridge/core/ops/__init__.py.
void add_placed(PyObject* module);

}  // namespace bridge
