// Files mapped read-only, and arrays over their bytes.
#pragma once
#include <Python.h>

namespace bridge {
void add_mapped(PyObject* module);
}
