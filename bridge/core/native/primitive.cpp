#include "primitive.h"

#include <structmember.h>

#include <optional>
#include <string>

#include "stream.h"

namespace bridge {
namespace {

enum class Kind_ : uint8_t { elementwise, reduction, index_reduction, structured, host };

struct PrimitiveObject {
  PyObject_HEAD vectorcallfunc vectorcall;
  Kind_ kind;
  int id;               // Stage or Reduce
  NativeCall call;      // structured
  PyObject* plan;       // host: the Python function that checks the arguments and makes the node
  const char* name;
  const char* kind_name;
  PyObject* doc;
  PyObject* weakrefs;
};

PyTypeObject* primitive_type = nullptr;

PyObject* call_elementwise(PrimitiveObject* self, PyObject* const* args, Py_ssize_t n, PyObject* names) {
  auto stage = static_cast<Stage>(self->id);
  int arity = stage_arity(stage);
  PyObject* values[4] = {};
  std::optional<StreamScope> positional;
  if (names || n != arity) {
    static const char* const kNames[][4] = {{"a", "stream"}, {"a", "b", "stream"}, {"condition", "x", "y", "stream"}};
    parse_arguments({self->name, kNames[arity - 1], arity + 1, arity, arity + 1}, args, n, names, values);
    if (n > arity) positional.emplace(stream_of(values[arity]));
    args = values;
  }
  Operand operands[3];
  for (int k = 0; k < arity; ++k) operands[k] = need_operand(args[k], self->name);
  return wrap(make_elementwise(stage, operands, arity));
}

PyObject* call_reduction(PrimitiveObject* self, PyObject* const* args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "axis", "keepdims", "stream", "dtype"};
  const auto op = static_cast<Reduce>(self->id);
  const bool sums = op == Reduce::sum || op == Reduce::prod;  // these two can be asked for a dtype
  PyObject* values[5] = {};
  parse_arguments({self->name, kNames, sums ? 5 : 4, 1, 3}, args, n, names, values);
  Operand operand = need_operand(values[0], self->name);
  if (operand.is_weak()) {
    DType t = default_dtype(operand.weak);
    operand.node = make_constant(t, encode(operand.weak, t, self->name));
  }
  Node* a = operand.node.get();
  bool keepdims = values[2] && truth(values[2]);
  PyObject* axis = values[1] == Py_None ? nullptr : values[1];
  if (self->kind == Kind_::index_reduction && axis && !PyIndex_Check(axis))
    raise_type(
        message(std::string("bridge.") + self->name, "axis must be an integer or None.", Py_TYPE(axis)->tp_name));
  const uint32_t axes = axes_mask(axis, a->ndim, self->name);
  if (!values[4] || values[4] == Py_None) return wrap(make_reduction(op, a, axes, keepdims));
  const DType wanted = to_dtype(values[4]);
  NodeRef converted = make_cast(a, wanted);
  NodeRef result = make_reduction(op, converted.get(), axes, keepdims);  // small integers: in 32 bits, then back
  return wrap(result->dtype == wanted ? std::move(result) : make_cast(result.get(), wanted));
}

// `stream=` of a call: what the call makes is put there. Nothing is looked at where there are no keywords.
class CallStream {
 public:
  CallStream(PyObject* const* args, Py_ssize_t n, PyObject* names) {
    static PyObject* const wanted = PyUnicode_InternFromString("stream");
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); ++i) {
      PyObject* name = PyTuple_GET_ITEM(names, i);
      if (name != wanted && PyUnicode_Compare(name, wanted) != 0) continue;
      if (args[n + i] != Py_None) scope_.emplace(stream_of(args[n + i]));
      return;
    }
  }

 private:
  std::optional<StreamScope> scope_;
};

PyObject* primitive_vectorcall(PyObject* callable, PyObject* const* args, size_t nargsf, PyObject* names) {
  auto* self = reinterpret_cast<PrimitiveObject*>(callable);
  Py_ssize_t n = PyVectorcall_NARGS(nargsf);
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    const CallStream stream(args, n, names);
    switch (self->kind) {
      case Kind_::elementwise: return call_elementwise(self, args, n, names);
      case Kind_::structured: return self->call(args, n, names);
      case Kind_::host: return PyObject_Vectorcall(self->plan, args, static_cast<size_t>(n), names);
      default: return call_reduction(self, args, n, names);
    }
  });
}

PyObject* primitive_get(PyObject* self, PyObject* instance, PyObject*) {
  if (!instance || instance == Py_None) return Py_NewRef(self);
  return PyMethod_New(self, instance);
}

PyObject* primitive_repr(PyObject* self) {
  auto* p = reinterpret_cast<PrimitiveObject*>(self);
  return PyUnicode_FromFormat("<bridge %s primitive '%s'>", p->kind_name, p->name);
}

PyObject* get_name(PyObject* self, void*) {
  return PyUnicode_FromString(reinterpret_cast<PrimitiveObject*>(self)->name);
}
PyObject* get_kind(PyObject* self, void*) {
  return PyUnicode_FromString(reinterpret_cast<PrimitiveObject*>(self)->kind_name);
}
PyObject* get_module(PyObject*, void*) { return PyUnicode_FromString("bridge"); }
PyObject* get_doc(PyObject* self, void*) {
  PyObject* doc = reinterpret_cast<PrimitiveObject*>(self)->doc;
  return Py_NewRef(doc ? doc : Py_None);
}
int set_doc(PyObject* self, PyObject* value, void*) {
  Py_XSETREF(reinterpret_cast<PrimitiveObject*>(self)->doc, Py_XNewRef(value));
  return 0;
}
// What inspect.signature() asks for: made from the declaration when it is wanted.
PyObject* get_signature(PyObject* self, void*) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    Ref module = Ref::check(PyImport_ImportModule("bridge.core.ops.declare"));
    return PyObject_CallMethod(module.get(), "signature_of", "s", reinterpret_cast<PrimitiveObject*>(self)->name);
  });
}
PyObject* primitive_reduce(PyObject* self, PyObject*) {
  return PyUnicode_FromString(reinterpret_cast<PrimitiveObject*>(self)->name);
}

void primitive_dealloc(PyObject* self) {
  auto* p = reinterpret_cast<PrimitiveObject*>(self);
  if (p->weakrefs) PyObject_ClearWeakRefs(self);
  Py_XDECREF(p->doc);
  Py_XDECREF(p->plan);
  PyTypeObject* type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(type);
}

PyGetSetDef primitive_getset[] = {
    {"__name__", get_name, nullptr, nullptr, nullptr},
    {"__qualname__", get_name, nullptr, nullptr, nullptr},
    {"__module__", get_module, nullptr, nullptr, nullptr},
    {"__doc__", get_doc, set_doc, nullptr, nullptr},
    {"__signature__", get_signature, nullptr, nullptr, nullptr},
    {"kind", get_kind, nullptr, "elementwise, reduction, index_reduction, view, structured or host.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMethodDef primitive_methods[] = {
    {"__reduce__", primitive_reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyMemberDef primitive_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(PrimitiveObject, vectorcall), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PrimitiveObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
PyType_Slot primitive_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(primitive_dealloc)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_repr, reinterpret_cast<void*>(primitive_repr)},
    {Py_tp_descr_get, reinterpret_cast<void*>(primitive_get)},
    {Py_tp_getset, primitive_getset},
    {Py_tp_methods, primitive_methods},
    {Py_tp_members, primitive_members},
    {0, nullptr},
};
PyType_Spec primitive_spec = {
    "bridge.Primitive", sizeof(PrimitiveObject), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    primitive_slots};

void set_declaration(Declaration& d, const char* name, Rule rule, unsigned accepts) {
  d.name = name;
  d.rule = rule;
  d.accepts = accepts;
}

}  // namespace

void make_primitive_type(PyObject* module) {
  primitive_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&primitive_spec));
  if (!primitive_type || PyModule_AddObjectRef(module, "Primitive", reinterpret_cast<PyObject*>(primitive_type)) < 0)
    throw PythonError{};
}

PyObject* declare(PyObject*, PyObject* args, PyObject* keywords) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    static const char* names[] = {"name", "kind", "arity", "accepts", "result", "plan", nullptr};
    const char *name, *kind, *result = "same";
    PyObject *arity = Py_None, *plan = nullptr;
    unsigned accepts = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "ss|$OIsO:declare", const_cast<char**>(names), &name, &kind,
                                     &arity, &accepts, &result, &plan))
      throw PythonError{};
    std::string k = kind;
    int id = -1;
    NativeCall call = nullptr;
    Kind_ which = Kind_::structured;
    if (k == "elementwise") {
      which = Kind_::elementwise;
      id = find_stage(name);
    } else if (k == "reduction" || k == "index_reduction") {
      which = k == "reduction" ? Kind_::reduction : Kind_::index_reduction;
      id = find_reduce(name);
    } else if (k == "view" || k == "structured") {
      call = find_structured(name);
    } else if (k == "host") {
      which = Kind_::host;
    } else {
      raise_value("[bridge.declare] unknown kind '" + k + "'.");
    }
    if (id < 0 && !call && !plan)
      raise_value(message(
          "bridge.declare", "'" + std::string(name) + "' is declared in Python and has no C++ side.", "kind " + k, "",
          k == "elementwise" ? "add a row to stages.def and a stage of that name" : "add the kernel of that name"));
    const char* fixed = static_cast<const char*>(PyMem_Malloc(strlen(name) + 1));
    if (!fixed) throw std::bad_alloc();
    strcpy(const_cast<char*>(fixed), name);  // a declaration lives as long as the process
    if (which == Kind_::elementwise) {
      auto stage = static_cast<Stage>(id);
      if (arity != Py_None && PyLong_AsLong(arity) != stage_arity(stage))
        raise_value("[bridge.declare] '" + std::string(name) + "' has arity " + std::to_string(stage_arity(stage)) +
                    " in C++.");
      set_declaration(declaration(stage), fixed, find_rule(result), accepts);
    } else if (which != Kind_::structured && which != Kind_::host) {
      set_declaration(declaration(static_cast<Reduce>(id)), fixed, find_rule(result), accepts);
    }
    auto* p = PyObject_New(PrimitiveObject, primitive_type);
    if (!p) throw PythonError{};
    p->vectorcall = primitive_vectorcall;
    p->kind = which;
    p->id = id;
    p->call = call;
    p->plan = Py_XNewRef(plan);
    p->name = fixed;
    p->kind_name = which == Kind_::elementwise       ? "elementwise"
                   : which == Kind_::reduction       ? "reduction"
                   : which == Kind_::index_reduction ? "index_reduction"
                   : which == Kind_::host            ? "host"
                   : k == "view"                     ? "view"
                                                     : "structured";
    p->doc = nullptr;
    p->weakrefs = nullptr;
    return reinterpret_cast<PyObject*>(p);
  });
}

uint32_t axes_mask(PyObject* axis, int ndim, const char* op) {
  if (!axis || axis == Py_None) return ndim == 0 ? 0 : static_cast<uint32_t>((uint64_t{1} << ndim) - 1);
  int64_t values[kMaxNdim];
  int count = to_shape(axis, values, op);
  uint32_t mask = 0;
  for (int i = 0; i < count; ++i) {
    uint32_t b = 1u << normalize_axis(values[i], ndim, op);
    if (mask & b)
      raise_value(message(std::string("bridge.") + op, "an axis is given twice.", shape_text(count, values)));
    mask |= b;
  }
  return mask;
}

void parse_arguments(const Signature& s, PyObject* const* args, Py_ssize_t n, PyObject* names, PyObject** values) {
  if (n > s.max_positional)
    raise_type(std::string(s.function) + "() takes at most " + std::to_string(s.max_positional) +
               " positional arguments but " + std::to_string(n) + " were given");
  for (Py_ssize_t i = 0; i < n; ++i) values[i] = args[i];
  Py_ssize_t n_names = names ? PyTuple_GET_SIZE(names) : 0;
  for (Py_ssize_t i = 0; i < n_names; ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    int at = 0;
    while (at < s.count && PyUnicode_CompareWithASCIIString(name, s.names[at]) != 0) ++at;
    if (at == s.count)
      raise_type(std::string(s.function) + "() got an unexpected keyword argument '" + PyUnicode_AsUTF8(name) + "'");
    if (values[at]) raise_type(std::string(s.function) + "() got multiple values for argument '" + s.names[at] + "'");
    values[at] = args[n + i];
  }
  for (int i = 0; i < s.required; ++i)
    if (!values[i]) raise_type(std::string(s.function) + "() missing required argument '" + s.names[i] + "'");
}

void check_device(PyObject* device) {
  if (!device || device == Py_None) return;
  Ref module = Ref::check(PyImport_ImportModule("bridge.core.namespace"));
  Ref::check(PyObject_CallMethod(module.get(), "check_device", "O", device));
}

bool truth(PyObject* o) {
  int t = PyObject_IsTrue(o);
  if (t < 0) throw PythonError{};
  return t;
}

}  // namespace bridge
