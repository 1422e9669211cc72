// DLPack capsules of anybody, looked at and moved.
#pragma once
#include <Python.h>

namespace bridge {
void add_capsules(PyObject* module);
}
