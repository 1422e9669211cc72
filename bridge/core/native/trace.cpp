#include "trace.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "arguments.h"
#include "eval.h"
#include "exchange.h"
#include "kernel.h"

namespace bridge {

uint64_t n_extent_reads = 0;

namespace {

struct Trace {
  uint32_t id;
  std::string name;  // of the transform, as users call it
  bool symbolic;
  std::vector<NodeRef> inputs;
};

std::vector<Trace> alive;  // by rising id
uint32_t last_trace = 0;
std::vector<NodeRef> remembered;  // evaluated nodes that keep their operands
PyObject* export_hook = nullptr;

Trace* find_trace(uint32_t id) {
  for (Trace& t : alive)
    if (t.id == id) return &t;
  return nullptr;
}

Trace& need_trace(PyObject* o) {
  Trace* t = find_trace(static_cast<uint32_t>(need_int(o, "trace", "a trace")));
  if (!t) raise_value("[bridge.trace] the trace has ended.");
  return *t;
}

void forget_node(Node* n) {
  detach(n);
  n->op = Op::data;
  n->trace = 0;
}

// Lets go of what no trace needs any more.
void forget_history() {
  std::vector<NodeRef> kept, gone;
  for (NodeRef& n : remembered) (is_traced(n.get()) ? kept : gone).push_back(std::move(n));
  remembered = std::move(kept);
  for (NodeRef& n : gone) forget_node(n.get());
}

PyObject* trace_begin(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (n != 2) raise_type("_trace_begin() takes a name and whether the inputs are symbols");
    const char* text = PyUnicode_AsUTF8(args[0]);
    if (!text) throw PythonError{};
    alive.push_back({++last_trace, text, truth(args[1]), {}});
    oldest_trace = alive.front().id;
    return PyLong_FromUnsignedLong(last_trace);
  });
}

PyObject* trace_end(PyObject*, PyObject* id) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    Trace& t = need_trace(id);
    std::vector<NodeRef> inputs = std::move(t.inputs);
    alive.erase(alive.begin() + (&t - alive.data()));
    oldest_trace = alive.empty() ? UINT32_MAX : alive.front().id;
    for (NodeRef& n : inputs)
      if (n->op == Op::data) n->trace = 0;
    forget_history();
    Py_RETURN_NONE;
  });
}

PyObject* trace_inputs(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (n != 2) raise_type("_trace_inputs() takes a trace and a list of arrays");
    std::vector<NodeRef> arrays;
    Ref items = Ref::check(PySequence_Fast(args[1], "a sequence of arrays is wanted"));
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i)
      arrays.push_back(need_array(PySequence_Fast_GET_ITEM(items.get(), i), "trace"));
    Ref result = Ref::check(PyList_New(static_cast<Py_ssize_t>(arrays.size())));
    for (size_t i = 0; i < arrays.size(); ++i) {
      NodeRef input = make_identity(arrays[i].get());
      Trace& t = need_trace(args[0]);
      input->trace = t.id;
      t.inputs.push_back(input);
      PyList_SET_ITEM(result.get(), static_cast<Py_ssize_t>(i), wrap(std::move(input)));
    }
    return result.release();
  });
}

PyObject* trace_symbols(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (n != 2) raise_type("_trace_symbols() takes a trace and a list of (dtype, shape)");
    Ref items = Ref::check(PySequence_Fast(args[1], "a sequence is wanted"));
    Py_ssize_t count = PySequence_Fast_GET_SIZE(items.get());
    Ref result = Ref::check(PyList_New(count));
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyObject *dtype, *extents;
      if (!PyArg_ParseTuple(PySequence_Fast_GET_ITEM(items.get(), i), "OO", &dtype, &extents)) throw PythonError{};
      int64_t shape[kMaxNdim];
      int ndim = to_shape(extents, shape, "trace");
      NodeRef input(new_node(Op::input, to_dtype(dtype), ndim, 0));
      set_shape(input.get(), shape);
      input->flags |= kSymbolic;
      Trace& t = need_trace(args[0]);
      input->trace = t.id;
      t.inputs.push_back(input);
      PyList_SET_ITEM(result.get(), i, wrap(std::move(input)));
    }
    return result.release();
  });
}

// ---- looking at the graph ----

std::string stage_label(const Node* n) {
  auto stage = static_cast<Stage>(n->stage);
  const Declaration& d = declaration(stage);
  return d.name ? d.name : stage_name(stage);
}

Ref int_tuple(int count, const int64_t* values) { return Ref::check(shape_tuple(count, values)); }

Ref axes_tuple(uint32_t mask) {
  int64_t axes[kMaxNdim];
  int count = 0;
  for (int i = 0; i < kMaxNdim; ++i)
    if (mask >> i & 1) axes[count++] = i;
  return int_tuple(count, axes);
}

// Name of the primitive that makes such a node, and the keyword parameters that make it again (nullptr: none).
std::string name_and_parameters(const Node* n, Ref* parameters) {
  const Attributes* at = n->attributes;
  auto set = [&](PyObject* dictionary) { *parameters = Ref::check(dictionary); };
  switch (n->op) {
    case Op::elementwise: {
      if (static_cast<Stage>(n->stage) != Stage::cast) return stage_label(n);
      set(Py_BuildValue("{s:O}", "dtype", dtype_object(n->dtype)));
      return "cast";
    }
    case Op::reduction: {
      bool keepdims = n->ndim == n->input(0)->ndim;
      set(Py_BuildValue("{s:O,s:O}", "axes", axes_tuple(at->axes).get(), "keepdims", keepdims ? Py_True : Py_False));
      return declaration(static_cast<Reduce>(n->stage)).name;
    }
    case Op::broadcast: set(Py_BuildValue("{s:O}", "shape", int_tuple(n->ndim, n->shape).get())); return "broadcast_to";
    case Op::reshape: set(Py_BuildValue("{s:O}", "shape", int_tuple(n->ndim, n->shape).get())); return "reshape";
    case Op::transpose: set(Py_BuildValue("{s:O}", "axes", int_tuple(n->ndim, at->start).get())); return "transpose";
    case Op::slice:
      set(Py_BuildValue("{s:O,s:O,s:O}", "start", int_tuple(n->ndim, at->start).get(), "step",
                        int_tuple(n->ndim, at->step).get(), "count", int_tuple(n->ndim, n->shape).get()));
      return "strided_slice";
    case Op::slice_update:
      set(Py_BuildValue("{s:O,s:O}", "start", int_tuple(n->ndim, at->start).get(), "step",
                        int_tuple(n->ndim, at->step).get()));
      return "strided_update";
    case Op::matmul: return "matmul";
    case Op::concatenate: set(Py_BuildValue("{s:i}", "axis", static_cast<int>(at->axes))); return "concatenate";
    case Op::arange: return "arange";
    case Op::host: {
      auto* call = static_cast<PyObject*>(at->function);
      *parameters = Ref::check(PyObject_GetAttrString(call, "parameters"));
      Ref name = Ref::check(PyObject_GetAttrString(call, "name"));
      const char* text = PyUnicode_AsUTF8(name.get());
      if (!text) throw PythonError{};
      return text;
    }
    case Op::host_part: set(Py_BuildValue("{s:i}", "part", static_cast<int>(n->stage))); return "host_part";
    case Op::kernel: set(at->kernel->parameters()); return at->kernel->name();
    case Op::identity: return n->stage ? "stop_gradient" : "identity";
    case Op::call:
      set(Py_BuildValue("{s:O,s:i}", "call", static_cast<PyObject*>(at->function), "part", static_cast<int>(n->stage)));
      return "call";
    case Op::input: return "input";
    case Op::data: return "data";
    case Op::constant: return "constant";
  }
  return "";
}

// The operands that a transform sees: of a call its arguments, not what it made of them.
struct Operands {
  uint32_t first, end;
  explicit Operands(const Node* n)
      : first(n->op == Op::call ? 1 : 0), end(n->op == Op::call ? 1 + n->attributes->axes : n->n_edges) {}
};

struct Tape {
  std::unordered_map<const Node*, int64_t> slots;  // of nodes that depend on an input; -1: does not
  std::vector<NodeRef> nodes;                      // in topological order, inputs left out
};

// The nodes between the inputs and the outputs. Depth first, without recursion.
Tape make_tape(uint32_t id, const std::vector<NodeRef>& inputs, const std::vector<NodeRef>& outputs) {
  Tape tape;
  for (size_t i = 0; i < inputs.size(); ++i) tape.slots.emplace(inputs[i].get(), static_cast<int64_t>(i));
  auto count = static_cast<int64_t>(inputs.size());
  struct Visit {
    Node* node;
    uint32_t next;
  };
  std::vector<Visit> stack;
  auto enter = [&](Node* n) {
    if (n->trace < id || tape.slots.count(n)) return;
    stack.push_back({n, Operands(n).first});
  };
  for (const NodeRef& output : outputs) {
    enter(output.get());
    while (!stack.empty()) {
      Visit& v = stack.back();
      Operands range(v.node);
      if (v.next < range.end) {
        enter(v.node->edges[v.next++].node);
        continue;
      }
      Node* n = v.node;
      stack.pop_back();
      if (tape.slots.count(n)) continue;
      bool depends = false;
      for (uint32_t k = range.first; k < range.end && !depends; ++k) {
        auto found = tape.slots.find(n->edges[k].node);
        depends = found != tape.slots.end() && found->second >= 0;
      }
      tape.slots.emplace(n, depends ? count++ : -1);
      if (depends) tape.nodes.push_back(NodeRef::borrow(n));
    }
  }
  return tape;
}

int64_t slot_of(const Tape& tape, const Node* n) {
  auto found = tape.slots.find(n);
  return found == tape.slots.end() ? -1 : found->second;
}

Ref record_of(const Tape& tape, Node* n) {
  Ref parameters;
  std::string name = name_and_parameters(n, &parameters);
  Operands range(n);
  auto count = static_cast<Py_ssize_t>(range.end - range.first);
  Ref operands = Ref::check(PyTuple_New(count)), slots = Ref::check(PyTuple_New(count));
  for (Py_ssize_t k = 0; k < count; ++k) {
    Node* operand = n->edges[range.first + static_cast<uint32_t>(k)].node;
    PyTuple_SET_ITEM(operands.get(), k, wrap(NodeRef::borrow(operand)));
    PyObject* slot = PyLong_FromLongLong(slot_of(tape, operand));
    if (!slot) throw PythonError{};
    PyTuple_SET_ITEM(slots.get(), k, slot);
  }
  Ref label = Ref::check(PyUnicode_InternFromString(name.c_str()));
  Ref y = Ref::check(wrap(NodeRef::borrow(n)));
  if (!parameters) parameters = Ref::check(PyDict_New());
  return Ref::check(PyTuple_Pack(5, label.get(), y.get(), operands.get(), slots.get(), parameters.get()));
}

PyObject* make_tape_of(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (n != 2) raise_type("_tape() takes a trace and results");
    const Trace& t = need_trace(args[0]);
    uint32_t id = t.id;
    std::vector<NodeRef> inputs = t.inputs, outputs = node_list(args[1]);
    Tape tape = make_tape(id, inputs, outputs);
    Ref records = Ref::check(PyList_New(static_cast<Py_ssize_t>(tape.nodes.size())));
    for (size_t i = 0; i < tape.nodes.size(); ++i)
      PyList_SET_ITEM(records.get(), static_cast<Py_ssize_t>(i), record_of(tape, tape.nodes[i].get()).release());
    Ref slots = Ref::check(PyList_New(static_cast<Py_ssize_t>(outputs.size())));
    for (size_t i = 0; i < outputs.size(); ++i)
      PyList_SET_ITEM(slots.get(), static_cast<Py_ssize_t>(i),
                      Ref::check(PyLong_FromLongLong(slot_of(tape, outputs[i].get()))).release());
    return PyTuple_Pack(2, records.get(), slots.get());
  });
}

// ---- nodes that transforms make ----

PyObject* identity(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (n < 1) raise_type("_identity() takes an array, and others to wait for");
    std::vector<NodeRef> operands;
    for (Py_ssize_t i = 0; i < n; ++i) operands.push_back(need_array(args[i], "identity"));
    if (n == 1) return wrap(make_identity(operands[0].get()));
    Node* a = operands[0].get();
    NodeRef result(new_node(Op::identity, a->dtype, a->ndim, static_cast<int>(n)));
    result->stage = 0;
    set_shape(result.get(), a->shape);
    for (size_t i = 0; i < operands.size(); ++i) set_edge(result.get(), static_cast<int>(i), operands[i].get());
    return wrap(finish(std::move(result)));
  });
}

// call(rules, arguments, results): every result as a call node.
PyObject* make_call(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (n != 3) raise_type("_call() takes rules, arguments and results");
    std::vector<NodeRef> arguments = node_list(args[1]), results = node_list(args[2]);
    Ref made = Ref::check(PyList_New(static_cast<Py_ssize_t>(results.size())));
    for (size_t k = 0; k < results.size(); ++k) {
      Node* body = results[k].get();
      NodeRef part(
          new_node(Op::call, body->dtype, body->ndim, static_cast<int>(1 + arguments.size() + results.size())));
      set_shape(part.get(), body->shape);
      part->stage = static_cast<uint16_t>(k);
      part->attributes = new Attributes;
      part->attributes->axes = static_cast<uint32_t>(arguments.size());
      part->attributes->function = Py_NewRef(args[0]);
      int at = 0;
      set_edge(part.get(), at++, body);
      for (const NodeRef& a : arguments) set_edge(part.get(), at++, a.get());
      for (const NodeRef& r : results) set_edge(part.get(), at++, r.get());
      PyList_SET_ITEM(made.get(), static_cast<Py_ssize_t>(k), wrap(finish(std::move(part))));
    }
    return made.release();
  });
}

// All results of the call that one of them belongs to.
PyObject* siblings(PyObject*, PyObject* one) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (!is_array(one)) raise_type("_siblings() takes an array");
    Node* n = node_of(one);
    if (n->op != Op::call) raise_type("[bridge.trace] the array is not the result of a call.");
    const Attributes& at = *n->attributes;
    uint32_t first = 1 + at.axes;
    Ref list = Ref::check(PyList_New(static_cast<Py_ssize_t>(n->n_edges - first)));
    for (uint32_t k = first; k < n->n_edges; ++k) {
      Node* body = n->edges[k].node;
      NodeRef part;
      if (k - first == n->stage) {
        part = NodeRef::borrow(n);
      } else {
        part = NodeRef(new_node(Op::call, body->dtype, body->ndim, static_cast<int>(n->n_edges)));
        set_shape(part.get(), body->shape);
        part->stage = static_cast<uint16_t>(k - first);
        part->attributes = new Attributes;
        part->attributes->axes = at.axes;
        part->attributes->function = Py_NewRef(static_cast<PyObject*>(at.function));
        set_edge(part.get(), 0, body);
        for (uint32_t e = 1; e < n->n_edges; ++e) set_edge(part.get(), static_cast<int>(e), n->edges[e].node);
      }
      PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(k - first), wrap(std::move(part)));
    }
    return list.release();
  });
}

// The results of a host op with several: those that exist, and new nodes for the others.
PyObject* host_parts(PyObject*, PyObject* node) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    Node* all = is_array(node) ? node_of(node) : nullptr;
    if (!all || all->op != Op::host) Py_RETURN_NONE;
    Ref specs = Ref::check(PyObject_GetAttrString(static_cast<PyObject*>(all->attributes->function), "results"));
    if (!PyList_Check(specs.get())) Py_RETURN_NONE;
    Py_ssize_t count = PyList_GET_SIZE(specs.get());
    Ref parts = Ref::check(PyTuple_New(count));
    for (Py_ssize_t k = 0; k < count; ++k) {
      NodeRef part;
      for (Edge* e = all->consumers; e && !part; e = e->next)
        if (e->self->op == Op::host_part && e->self->stage == k) part = NodeRef::borrow(e->self);
      if (!part) {
        PyObject *dtype, *extents;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(specs.get(), k), "OO", &dtype, &extents)) throw PythonError{};
        int64_t shape[kMaxNdim];
        int ndim = to_shape(extents, shape, "trace");
        part = NodeRef(new_node(Op::host_part, to_dtype(dtype), ndim, 1));
        set_shape(part.get(), shape);
        part->stage = static_cast<uint16_t>(k);
        set_edge(part.get(), 0, all);
      }
      PyTuple_SET_ITEM(parts.get(), k, wrap(std::move(part)));
    }
    return parts.release();
  });
}

// The latest running trace that the node depends on; nullptr: its number is as high, but it comes from elsewhere. What
// depends on a running trace has kept its operands, so the walk tells.
const Trace* watching(Node* n) {
  std::unordered_map<const Node*, const Trace*> inputs;
  for (const Trace& t : alive)
    for (const NodeRef& input : t.inputs) inputs[input.get()] = &t;
  std::unordered_map<const Node*, bool> seen{{n, true}};
  std::vector<const Node*> todo{n};
  const Trace* latest = nullptr;
  while (!todo.empty()) {
    const Node* one = todo.back();
    todo.pop_back();
    auto found = inputs.find(one);
    if (found != inputs.end() && (!latest || found->second->id > latest->id)) latest = found->second;
    for (uint32_t k = 0; k < one->n_edges; ++k)
      if (is_traced(one->edges[k].node) && seen.emplace(one->edges[k].node, true).second)
        todo.push_back(one->edges[k].node);
  }
  return latest;
}

PyObject* traced(PyObject*, PyObject* a) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (!is_array(a)) raise_type("_is_traced() takes an array");
    return PyBool_FromLong(is_traced(node_of(a)) || node_of(a)->is(kSymbolic));
  });
}

PyObject* extent_reads(PyObject*, PyObject*) { return PyLong_FromUnsignedLongLong(n_extent_reads); }

PyObject* is_tracing(PyObject*, PyObject*) { return PyBool_FromLong(!alive.empty()); }

PyObject* set_export_hook(PyObject*, PyObject* hook) {
  Py_XSETREF(export_hook, hook == Py_None ? nullptr : Py_NewRef(hook));
  Py_RETURN_NONE;
}

PyMethodDef methods[] = {
    {"_trace_begin", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(trace_begin)), METH_FASTCALL,
     "_trace_begin(name, symbolic, /)\n--\n\nBegin a trace for the transform of that name."},
    {"_trace_end", trace_end, METH_O, "_trace_end(trace, /)\n--\n\nEnd it: what it kept is let go."},
    {"_trace_inputs", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(trace_inputs)), METH_FASTCALL,
     "_trace_inputs(trace, arrays, /)\n--\n\nNew arrays of the same values: the inputs of a trace."},
    {"_trace_symbols", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(trace_symbols)), METH_FASTCALL,
     "_trace_symbols(trace, specs, /)\n--\n\nInputs without values, from (dtype, shape)."},
    {"_tape", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(make_tape_of)), METH_FASTCALL,
     "_tape(trace, results, /)\n--\n\nThe ops between the trace's inputs and results, in topological order, as (name, "
     "result, "
     "operands, slots, parameters), and the slots of the\nresults. Slots count the inputs first, then the ops; -1 "
     "depends on no input."},
    {"_identity", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(identity)), METH_FASTCALL,
     "_identity(a, *others)\n--\n\nThe same values as another node, computed when the others are."},
    {"_call", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(make_call)), METH_FASTCALL,
     "_call(rules, arguments, results, /)\n--\n\nThe results as nodes to which transforms apply `rules`."},
    {"_siblings", siblings, METH_O, "_siblings(result, /)\n--\n\nAll results of the call that made one of them."},
    {"_host_parts", host_parts, METH_O,
     "_host_parts(node, /)\n--\n\nAll results of a host op that has several; None of any other."},
    {"_is_traced", traced, METH_O, "_is_traced(a, /)\n--\n\nWhether a transform that is running depends on the array."},
    {"_extent_reads", extent_reads, METH_NOARGS,
     "_extent_reads()\n--\n\nHow often code has asked for the extents of arrays without values."},
    {"_is_tracing", is_tracing, METH_NOARGS, "_is_tracing()\n--\n\nWhether any transform is running."},
    {"_set_export_hook", set_export_hook, METH_O,
     "_set_export_hook(hook, /)\n--\n\nCall hook(name of the transform, description) when a traced array goes "
     "outside."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

std::vector<NodeRef> node_list(PyObject* o) {
  std::vector<NodeRef> nodes;
  Ref items = Ref::check(PySequence_Fast(o, "a sequence of arrays is wanted"));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(items.get(), i);
    if (!is_array(item)) raise_type("[bridge.trace] arrays are wanted.");
    nodes.push_back(NodeRef::borrow(node_of(item)));
  }
  return nodes;
}

TraceInputs inputs_of(PyObject* trace) {
  const Trace& t = need_trace(trace);
  return {t.id, t.inputs};
}

bool keep_history(Node* n) noexcept {
  if (!is_traced(n)) {
    n->trace = 0;
    return false;
  }
  try {
    remembered.push_back(NodeRef::borrow(n));
    return true;
  } catch (const std::bad_alloc&) { return false; }
}

void refuse_values(const Node* n) {
  const Trace* t = nullptr;
  for (const Trace& one : alive)
    if (one.symbolic && one.id <= n->trace) t = &one;
  std::string by = t ? "bridge." + t->name : "a transform that has ended";
  throw Error("TracedError", message(t ? by : "bridge.eval",
                                     t ? "the array is traced by " + by + ": it has no values yet."
                                       : "the array leaked out of the function that was traced.",
                                     describe(n), "",
                                     t ? "look at values outside the function, or make it return them"
                                       : "return it from the function"));
}

// Gives the bytes of a fresh copy to n, which alone has them then.
static void hand_over(NodeRef copy, Node* n) {
  Storage* own = copy->storage;
  unsigned char* data = copy->data;
  retain(own);
  copy = {};
  attach_storage(n, own, data, nullptr);
}

void notice_export(Node* n) {
  NodeRef held = NodeRef::borrow(n);
  const Trace* seen_by = watching(n);
  if (!seen_by) return;
  std::string name = seen_by->name;
  bool is_input = false;
  for (const NodeRef& input : seen_by->inputs) is_input = is_input || input.get() == n;
  if (is_input && n->storage->n_nodes > 1 && !n->storage->leased()) {
    NodeRef copy = fresh_copy(n);
    drop_storage(n);
    hand_over(std::move(copy), n);
  }
  if (export_hook) {
    std::string what = describe(n);
    Ref::check(PyObject_CallFunction(export_hook, "ss", name.c_str(), what.c_str()));
  }
}

// The same values in memory that nobody can write. Of a traced array it is an op, so that the array stays on the tape.
static NodeRef own_copy(Node* a) {
  NodeRef copy = fresh_copy(a);
  if (!is_traced(a)) return copy;
  NodeRef same(new_node(Op::identity, a->dtype, a->ndim, 1));
  set_shape(same.get(), a->shape);
  same->stage = 0;
  set_edge(same.get(), 0, a);
  hand_over(std::move(copy), same.get());
  if (!keep_history(same.get())) throw std::bad_alloc();
  return same;
}

void separate(Node* n, const Storage* only) {
  NodeRef held = NodeRef::borrow(n);
  for (int k = 0; k < static_cast<int>(n->n_edges); ++k) {
    Node* a = n->edges[k].node;
    if (!a->storage || (only ? a->storage != only : !a->storage->open())) continue;
    replace_operand(n, k, own_copy(a).get());
  }
}

PyObject* call_stop_gradient(PyObject* const* args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "stream"};
  auto p = parse("stop_gradient", kNames, 1, 1, args, n, names);
  NodeRef a = need_array(p.values[0], "stop_gradient");
  NodeRef result(new_node(Op::identity, a->dtype, a->ndim, 1));
  set_shape(result.get(), a->shape);
  result->stage = 1;
  NodeRef stable = a->evaluated() && a->storage->open() ? make_copy(a.get()) : a;
  set_edge(result.get(), 0, stable.get());
  return wrap(finish(std::move(result)));
}

void add_trace(PyObject* module) {
  if (PyModule_AddFunctions(module, methods) < 0) throw PythonError{};
}

}  // namespace bridge
