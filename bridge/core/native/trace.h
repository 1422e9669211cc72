// Traces: what transforms (bridge/core/transforms/) see of the graph. A transform calls a function on nodes of its own,
// the inputs of a trace, and then walks from the results back to them. Nodes know the latest trace that they depend on.
//
// While a trace is alive, an evaluated node that depends on it keeps its operands: the graph is the tape of a derivative,
// and a function may look at values on the way. Inputs of a symbolic trace (vmap, compile) stand for arrays that are not
// there, and so does all that depends on them: it cannot be evaluated.
//
// Everything here is called with the GIL held.
#pragma once
#include <Python.h>

#include <vector>

#include "node.h"

namespace bridge {

// An evaluated node: keeps its operands until no trace that it depends on is alive. False: it is on no tape.
bool keep_history(Node*) noexcept;

[[noreturn]] void refuse_values(const Node*);  // TracedError that names the transform

// Bytes of an array that a derivative is taken of go outside: the policy (bridge.set_policy) decides. An input of a trace
// gets bytes of its own first, so that writing to them shows in this array alone.
void notice_export(Node*);

// A symbolic node reads copies of the open arrays among its operands (or of those over one storage): it cannot be
// evaluated before somebody writes.
void separate(Node*, const Storage* only = nullptr);

// Extents of symbolic nodes that Python code asked for: a graph may depend on them.
extern uint64_t n_extent_reads;
inline void note_extent_read(const Node* n) {
  if (n->is(kSymbolic)) ++n_extent_reads;
}

// A running trace, by its number.
struct TraceInputs {
  uint32_t id;
  const std::vector<NodeRef>& inputs;
};
TraceInputs inputs_of(PyObject* trace);
std::vector<NodeRef> node_list(PyObject* arrays);

void add_trace(PyObject* module);
PyObject* call_stop_gradient(PyObject* const* args, Py_ssize_t n, PyObject* names);

}  // namespace bridge
