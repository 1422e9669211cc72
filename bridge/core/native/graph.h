// Graphs as templates: what compile and checkpoint keep of a traced function. A template is a list of ops without nodes,
// so nothing that is evaluated or freed knows of it; making it again on other inputs costs one new node an op.
#pragma once
#include <Python.h>

namespace bridge {

void add_graph(PyObject* module);

}  // namespace bridge
