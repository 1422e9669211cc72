#include "graph.h"

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "arguments.h"
#include "exchange.h"
#include "host.h"
#include "trace.h"

namespace bridge {
namespace {

// Where an operand comes from: the inputs and the ops are counted from 0, what is outside from -1 downwards.
using Place = int32_t;

struct Step_ {
  Op op;
  DType dtype;
  uint8_t ndim;
  uint16_t stage, stream;
  uint32_t n_operands, first_operand;  // in Graph::operands
  uint32_t first_extent;               // in Graph::extents
  int64_t size;
  ScalarValue scalar;
  Attributes* attributes;
};

Attributes* copy_attributes(const Attributes* from) {
  if (!from) return nullptr;
  auto* to = new Attributes;
  to->axes = from->axes;
  memcpy(to->start, from->start, sizeof to->start);
  memcpy(to->step, from->step, sizeof to->step);
  to->range_start = from->range_start;
  to->range_step = from->range_step;
  to->range_start_int = from->range_start_int;
  to->range_step_int = from->range_step_int;
  to->kernel = from->kernel;
  to->function = Py_XNewRef(static_cast<PyObject*>(from->function));
  return to;
}

struct Graph {
  uint32_t n_inputs = 0;
  std::vector<Step_> steps;
  std::vector<Place> operands;
  std::vector<int64_t> extents;
  std::vector<NodeRef> outside;
  std::vector<Place> results;

  ~Graph() {
    for (Step_& s : steps) {
      if (!s.attributes) continue;
      if (s.attributes->function) {
        s.attributes->next = nullptr;
        drop_functions(s.attributes);
      } else {
        delete s.attributes;
      }
    }
  }

  NodeRef at(const std::vector<NodeRef>& made, const std::vector<NodeRef>& around, Place p) const {
    return p >= 0 ? made[static_cast<size_t>(p)] : around[static_cast<size_t>(-1 - p)];
  }
};

// What makes two ops the same work: kind, dtype, shape, parameters and operands.
std::string key_of(const Node* n, const std::vector<Place>& operands) {
  std::string key;
  auto put = [&](const void* bytes, size_t count) { key.append(static_cast<const char*>(bytes), count); };
  put(&n->op, sizeof n->op);
  put(&n->dtype, sizeof n->dtype);
  put(&n->ndim, sizeof n->ndim);
  put(&n->stage, sizeof n->stage);
  put(&n->stream, sizeof n->stream);
  put(n->shape, sizeof(int64_t) * n->ndim);
  put(operands.data(), sizeof(Place) * operands.size());
  if (n->op == Op::constant) put(n->scalar.bytes, sizeof n->scalar.bytes);
  if (const Attributes* at = n->attributes) {
    put(&at->axes, sizeof at->axes);
    bool regions = n->op == Op::slice || n->op == Op::slice_update;
    if (regions || n->op == Op::transpose) put(at->start, sizeof(int64_t) * n->ndim);
    if (regions) put(at->step, sizeof(int64_t) * n->ndim);
    put(&at->range_start, sizeof at->range_start);
    put(&at->range_step, sizeof at->range_step);
    put(&at->range_start_int, sizeof at->range_start_int);
    put(&at->range_step_int, sizeof at->range_step_int);
    put(&at->function, sizeof at->function);
    const Kernel* kernel = at->kernel.get();
    put(&kernel, sizeof kernel);
  }
  return key;
}

// Builds a template from the nodes between a trace's inputs and results. Equal ops are kept once.
class Builder {
 public:
  Builder(Graph& graph, const TraceInputs& trace, bool close) : graph_(graph), id_(trace.id), close_(close) {
    for (const NodeRef& input : trace.inputs) places_.emplace(input.get(), static_cast<Place>(graph_.n_inputs++));
  }

  std::vector<NodeRef> captured;  // arrays from outside that a transform around this one traces; inputs, if `close`

  void build(const std::vector<NodeRef>& results) {
    std::vector<Node*> order = sorted(results);
    // With the captured arrays known, ops are counted behind all inputs.
    for (Node* n : order) add(n);
    for (const NodeRef& r : results) graph_.results.push_back(place(r.get()));
  }

 private:
  bool inside(const Node* n) const { return inside_.count(n) != 0; }

  // Nodes that depend on an input, operands first; the others that they read are sorted into captured and outside.
  std::vector<Node*> sorted(const std::vector<NodeRef>& results) {
    std::vector<Node*> order;
    std::unordered_map<const Node*, bool> seen;  // whether it depends on an input
    struct Visit {
      Node* node;
      uint32_t next;
    };
    std::vector<Visit> stack;
    auto enter = [&](Node* n) {
      if (seen.count(n) || places_.count(n)) return;
      if (n->trace < id_) {
        seen.emplace(n, false);
        return;
      }
      stack.push_back({n, 0});
    };
    for (const NodeRef& r : results) {
      enter(r.get());
      while (!stack.empty()) {
        Visit& v = stack.back();
        if (v.next < v.node->n_edges) {
          enter(v.node->edges[v.next++].node);
          continue;
        }
        Node* n = v.node;
        stack.pop_back();
        if (seen.count(n)) continue;
        bool depends = false;
        for (uint32_t k = 0; k < n->n_edges && !depends; ++k) {
          const Node* a = n->edges[k].node;
          auto found = seen.find(a);
          depends = found == seen.end() ? places_.count(a) != 0 : found->second;
        }
        seen.emplace(n, depends);
        if (depends) {
          order.push_back(n);
          inside_.emplace(n, true);
        }
      }
    }
    auto capture = [&](Node* a) {
      if (inside(a) || places_.count(a) || !(is_traced(a) || a->is(kSymbolic))) return;
      captured.push_back(NodeRef::borrow(a));
      if (close_) places_.emplace(a, static_cast<Place>(graph_.n_inputs++));
    };
    for (Node* n : order)
      for (uint32_t k = 0; k < n->n_edges; ++k) capture(n->edges[k].node);
    for (const NodeRef& r : results) capture(r.get());
    return order;
  }

  Place place(Node* n) {
    auto found = places_.find(n);
    if (found != places_.end()) return found->second;
    graph_.outside.push_back(NodeRef::borrow(n));
    auto p = static_cast<Place>(-static_cast<int64_t>(graph_.outside.size()));
    places_.emplace(n, p);
    return p;
  }

  void add(Node* n) {
    if (n->op == Op::identity && n->stage == 0 && n->n_edges == 1) {
      Place same = place(n->edges[0].node);
      places_.emplace(n, same);
      return;
    }
    std::vector<Place> operands;
    for (uint32_t k = 0; k < n->n_edges; ++k) operands.push_back(place(n->edges[k].node));
    auto [known, is_new] = known_.emplace(key_of(n, operands), 0);
    if (!is_new) {
      places_.emplace(n, known->second);
      return;
    }
    Step_ s{};
    s.op = n->op;
    s.dtype = n->dtype;
    s.ndim = n->ndim;
    s.stage = n->stage;
    s.stream = n->stream;
    s.n_operands = n->n_edges;
    s.first_operand = static_cast<uint32_t>(graph_.operands.size());
    s.first_extent = static_cast<uint32_t>(graph_.extents.size());
    s.size = n->size;
    s.scalar = n->scalar;
    graph_.operands.insert(graph_.operands.end(), operands.begin(), operands.end());
    graph_.extents.insert(graph_.extents.end(), n->shape, n->shape + n->ndim);
    s.attributes = copy_attributes(n->attributes);
    graph_.steps.push_back(s);
    known->second = static_cast<Place>(graph_.n_inputs + graph_.steps.size() - 1);
    places_.emplace(n, known->second);
  }

  Graph& graph_;
  uint32_t id_;
  bool close_;
  std::unordered_map<const Node*, Place> places_;
  std::unordered_map<const Node*, bool> inside_;
  std::unordered_map<std::string, Place> known_;
};

// Nobody writes to it while the graph is not evaluated.
NodeRef settled(const NodeRef& n) { return n->storage && n->storage->open() ? fresh_copy(n.get()) : n; }

std::vector<NodeRef> make_again(const Graph& g, std::vector<NodeRef> made) {
  std::vector<NodeRef> around;
  around.reserve(g.outside.size());
  for (const NodeRef& n : g.outside) around.push_back(settled(n));
  for (NodeRef& n : made) n = settled(n);
  made.reserve(made.size() + g.steps.size());
  for (const Step_& s : g.steps) {
    NodeRef n(new_node(s.op, s.dtype, s.ndim, static_cast<int>(s.n_operands)));
    n->stage = s.stage;
    if (s.stream) n->stream = s.stream;
    n->size = s.size;
    n->scalar = s.scalar;
    for (int i = 0; i < s.ndim; ++i) n->shape[i] = g.extents[s.first_extent + static_cast<uint32_t>(i)];
    n->attributes = copy_attributes(s.attributes);
    for (uint32_t k = 0; k < s.n_operands; ++k) {
      Place p = g.operands[s.first_operand + k];
      set_edge(n.get(), static_cast<int>(k),
               (p >= 0 ? made[static_cast<size_t>(p)] : around[static_cast<size_t>(-1 - p)]).get());
    }
    made.push_back(std::move(n));
  }
  std::vector<NodeRef> results;
  results.reserve(g.results.size());
  for (Place p : g.results) results.push_back(g.at(made, around, p));
  return results;
}

constexpr const char* kCapsule = "bridge.graph";

void free_graph(PyObject* capsule) { delete static_cast<Graph*>(PyCapsule_GetPointer(capsule, kCapsule)); }

// _graph_make(trace, results, close) -> (graph, captured)
PyObject* graph_make(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (n != 3) raise_type("_graph_make() takes a trace, results and whether captured arrays are inputs");
    bool close = truth(args[2]);
    std::vector<NodeRef> results = node_list(args[1]);
    auto graph = std::make_unique<Graph>();
    Builder builder(*graph, inputs_of(args[0]), close);
    builder.build(results);
    Ref captured = Ref::check(PyList_New(static_cast<Py_ssize_t>(builder.captured.size())));
    for (size_t i = 0; i < builder.captured.size(); ++i)
      PyList_SET_ITEM(captured.get(), static_cast<Py_ssize_t>(i), wrap(builder.captured[i]));
    Ref capsule = Ref::check(PyCapsule_New(graph.get(), kCapsule, free_graph));
    graph.release();
    return PyTuple_Pack(2, capsule.get(), captured.get());
  });
}

PyObject* graph_run(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (n != 2) raise_type("_graph_run() takes a graph and arrays");
    auto* graph = static_cast<Graph*>(PyCapsule_GetPointer(args[0], kCapsule));
    if (!graph) throw PythonError{};
    std::vector<NodeRef> inputs = node_list(args[1]);
    if (inputs.size() != graph->n_inputs) raise_value("[bridge.graph] another number of inputs is wanted.");
    std::vector<NodeRef> results = make_again(*graph, std::move(inputs));
    Ref list = Ref::check(PyList_New(static_cast<Py_ssize_t>(results.size())));
    for (size_t i = 0; i < results.size(); ++i)
      PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), wrap(std::move(results[i])));
    return list.release();
  });
}

PyObject* graph_size(PyObject*, PyObject* capsule) {
  auto* graph = static_cast<Graph*>(PyCapsule_GetPointer(capsule, kCapsule));
  return graph ? PyLong_FromSize_t(graph->steps.size()) : nullptr;
}

// ---- arguments of a compiled function, taken apart into what decides about its graph and the arrays

struct Signature_ {
  std::string text;
  std::vector<Ref> constants;
  std::vector<PyObject*> arrays;  // borrowed
  const char* tag;
  bool extents = true;  // of arrays count

  void number(int64_t v) { text.append(reinterpret_cast<const char*>(&v), sizeof v); }

  void constant(char mark, PyObject* o) {
    text += mark;
    constants.push_back(Ref::borrow(o));
  }

  void add(PyObject* o, int depth = 0) {
    if (depth > 200) raise_value(message(tag, "the containers are nested too deeply."));
    if (is_array(o)) {
      const Node* n = node_of(o);
      text += 'A';
      text += static_cast<char>(n->dtype);
      text += static_cast<char>(n->ndim);
      for (int i = 0; extents && i < n->ndim; ++i) number(n->shape[i]);
      arrays.push_back(o);
    } else if (PyDict_Check(o)) {
      text += 'D';
      number(PyDict_GET_SIZE(o));
      Py_ssize_t at = 0;
      PyObject *key, *value;
      while (PyDict_Next(o, &at, &key, &value)) {
        constant('k', key);
        add(value, depth + 1);
      }
    } else if (PyList_Check(o) || PyTuple_Check(o)) {
      bool plain = PyList_CheckExact(o) || PyTuple_CheckExact(o);
      text += PyList_Check(o) ? 'L' : 'T';
      number(PySequence_Fast_GET_SIZE(o));
      if (!plain) constant('t', reinterpret_cast<PyObject*>(Py_TYPE(o)));
      for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) add(PySequence_Fast_GET_ITEM(o, i), depth + 1);
    } else if (o == Py_None) {
      text += 'N';
    } else if (PyBool_Check(o)) {
      text += o == Py_True ? '1' : '0';
    } else if (PyFloat_Check(o)) {
      double v = PyFloat_AS_DOUBLE(o);
      int64_t bits;
      memcpy(&bits, &v, sizeof bits);
      text += 'F';
      number(bits);
    } else if (PyLong_Check(o)) {
      constant('I', o);
    } else if (PyComplex_Check(o)) {
      constant('C', o);
    } else if (PyUnicode_Check(o) || PyBytes_Check(o)) {
      constant('S', o);
    } else if (Py_TYPE(o) == dtype_type) {
      constant('Y', o);
    } else {
      raise_value(message(tag, "arguments must be nests (list, tuple, dict) of arrays and constants.",
                          Py_TYPE(o)->tp_name, "arrays, numbers, strings, dtypes or None",
                          "capture other objects in the function: functools.partial(fun, it)"));
    }
  }
};

// _signature(*nests) -> (key, arrays)
template <bool extents>
PyObject* signature(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    Signature_ s;
    s.tag = "bridge.compile";
    s.extents = extents;
    for (Py_ssize_t i = 0; i < n; ++i) s.add(args[i]);
    Ref constants = Ref::check(PyTuple_New(static_cast<Py_ssize_t>(s.constants.size())));
    for (size_t i = 0; i < s.constants.size(); ++i)
      PyTuple_SET_ITEM(constants.get(), static_cast<Py_ssize_t>(i), s.constants[i].release());
    Ref text = Ref::check(PyBytes_FromStringAndSize(s.text.data(), static_cast<Py_ssize_t>(s.text.size())));
    Ref key = Ref::check(PyTuple_Pack(2, text.get(), constants.get()));
    Ref arrays = Ref::check(PyList_New(static_cast<Py_ssize_t>(s.arrays.size())));
    for (size_t i = 0; i < s.arrays.size(); ++i)
      PyList_SET_ITEM(arrays.get(), static_cast<Py_ssize_t>(i), Py_NewRef(s.arrays[i]));
    return PyTuple_Pack(2, key.get(), arrays.get());
  });
}

PyMethodDef methods[] = {
    {"_graph_make", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(graph_make)), METH_FASTCALL,
     "_graph_make(trace, results, close, /)\n--\n\nThe ops between a trace's inputs and results, to be made again; and "
     "the arrays from outside\nthat other transforms trace, which are further inputs if `close`."},
    {"_graph_run", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(graph_run)), METH_FASTCALL,
     "_graph_run(graph, inputs, /)\n--\n\nThe results of such a graph for other inputs."},
    {"_graph_size", graph_size, METH_O, "_graph_size(graph, /)\n--\n\nThe number of its ops."},
    {"_signature", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(signature<true>)), METH_FASTCALL,
     "_signature(*nests)\n--\n\nWhat decides about the graph that arguments lead to, as a key; and the arrays in "
     "them."},
    {"_loose_signature", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(signature<false>)), METH_FASTCALL,
     "_loose_signature(*nests)\n--\n\nThe same, whatever the extents of the arrays."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void add_graph(PyObject* module) {
  if (PyModule_AddFunctions(module, methods) < 0) throw PythonError{};
}

}  // namespace bridge
