// Functions written in Python that take `stream=`: a callable around one puts all that it makes there, also what its
// operators make, to which no stream can be given. Without a stream it costs one more call in C, and no Python frame.
// For everything else (its name, signature, text) it is the function.
#include "placed.h"

#include <structmember.h>

#include <optional>

#include "errors.h"
#include "stream.h"

namespace bridge {
namespace {

struct PlacedObject {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* function;
  Py_ssize_t at;  // of the stream among the positional arguments; -1: a keyword only
  PyObject* weakrefs;
};

PyTypeObject* placed_type = nullptr;
PyObject* stream_name = nullptr;

PyObject* function_of(PyObject* self) { return reinterpret_cast<PlacedObject*>(self)->function; }

PyObject* given_stream(const PlacedObject* self, PyObject* const* args, Py_ssize_t n, PyObject* names) {
  for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    if (name == stream_name || PyUnicode_Compare(name, stream_name) == 0) return args[n + i];
  }
  return self->at >= 0 && n > self->at ? args[self->at] : Py_None;
}

PyObject* placed_vectorcall(PyObject* callable, PyObject* const* args, size_t nargsf, PyObject* names) {
  const auto* self = reinterpret_cast<PlacedObject*>(callable);
  PyObject* stream = given_stream(self, args, PyVectorcall_NARGS(nargsf), names);
  if (stream == Py_None) return PyObject_Vectorcall(self->function, args, nargsf, names);
  return guard(static_cast<PyObject*>(nullptr), [&] {
    const StreamScope scope(stream_of(stream));
    return PyObject_Vectorcall(self->function, args, nargsf, names);
  });
}

PyObject* placed_get(PyObject* self, PyObject* instance, PyObject*) {
  if (!instance || instance == Py_None) return Py_NewRef(self);
  return PyMethod_New(self, instance);
}

PyObject* placed_getattr(PyObject* self, PyObject* name) {
  PyObject* own = PyObject_GenericGetAttr(self, name);
  if (own || !PyErr_ExceptionMatches(PyExc_AttributeError)) return own;
  PyErr_Clear();
  return PyObject_GetAttr(function_of(self), name);
}

PyObject* placed_repr(PyObject* self) { return PyObject_Repr(function_of(self)); }
PyObject* get_function(PyObject* self, void*) { return Py_NewRef(function_of(self)); }
PyObject* get_of_function(PyObject* self, void* name) {
  return PyObject_GetAttrString(function_of(self), static_cast<const char*>(name));
}
PyObject* placed_reduce(PyObject* self,
                        PyObject*) {  // found in its module by name, where it is in the function's place
  return PyObject_GetAttrString(function_of(self), "__qualname__");
}

int placed_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(function_of(self));
  return 0;
}

int placed_clear(PyObject* self) {
  Py_CLEAR(reinterpret_cast<PlacedObject*>(self)->function);
  return 0;
}

void placed_dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  if (reinterpret_cast<PlacedObject*>(self)->weakrefs) PyObject_ClearWeakRefs(self);
  placed_clear(self);
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_Del(self);
  Py_DECREF(type);
}

PyGetSetDef placed_getset[] = {
    {"__wrapped__", get_function, nullptr, "The function itself.", nullptr},
    {"__doc__", get_of_function, nullptr, nullptr, const_cast<char*>("__doc__")},
    {"__module__", get_of_function, nullptr, nullptr, const_cast<char*>("__module__")},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMethodDef placed_methods[] = {
    {"__reduce__", placed_reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyMemberDef placed_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(PlacedObject, vectorcall), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PlacedObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
PyType_Slot placed_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(placed_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(placed_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(placed_clear)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_repr, reinterpret_cast<void*>(placed_repr)},
    {Py_tp_getattro, reinterpret_cast<void*>(placed_getattr)},
    {Py_tp_descr_get, reinterpret_cast<void*>(placed_get)},
    {Py_tp_getset, placed_getset},
    {Py_tp_methods, placed_methods},
    {Py_tp_members, placed_members},
    {0, nullptr},
};
PyType_Spec placed_spec = {"bridge.Placed", sizeof(PlacedObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                               Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           placed_slots};

PyObject* place(PyObject*, PyObject* args) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    PyObject* function;
    Py_ssize_t at;
    if (!PyArg_ParseTuple(args, "On:place", &function, &at)) throw PythonError{};
    auto* p = PyObject_GC_New(PlacedObject, placed_type);
    if (!p) throw PythonError{};
    p->vectorcall = placed_vectorcall;
    p->function = Py_NewRef(function);
    p->at = at;
    p->weakrefs = nullptr;
    PyObject_GC_Track(reinterpret_cast<PyObject*>(p));
    return reinterpret_cast<PyObject*>(p);
  });
}

PyMethodDef methods[] = {
    {"place", place, METH_VARARGS,
     "place(function, at, /)\n--\n\nThe function, run on the stream that it is given: by keyword, or as positional "
     "argument number `at` (-1: by keyword only)."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void add_placed(PyObject* module) {
  stream_name = PyUnicode_InternFromString("stream");
  placed_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&placed_spec));
  if (!stream_name || !placed_type || PyModule_AddFunctions(module, methods) < 0) throw PythonError{};
}

}  // namespace bridge
