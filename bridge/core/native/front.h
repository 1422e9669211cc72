// The plain call of bridge.to and bridge.from_ without a Python frame.
#pragma once
#include <Python.h>

namespace bridge {
void add_front(PyObject* module);
}
