// Registers the exchange functions of bridge.core._native.
#pragma once
#include <Python.h>

namespace bridge {
void add_doors(PyObject* module);
}
