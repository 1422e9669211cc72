// bridge.ArrayIterator: the rows of an array one after the other. The array is evaluated once, not once a row (a symbol of
// a transform has no values: its rows are symbols, too). An update of it in the loop is seen by the rows that come.
#include "iterator.h"

#include "array.h"

namespace bridge {
namespace {

struct IteratorObject {
  PyObject_HEAD PyObject* array;  // nullptr: at the end
  int64_t next;
};

PyTypeObject* iterator_type = nullptr;

PyObject* next_row(PyObject* self) {
  auto* it = reinterpret_cast<IteratorObject*>(self);
  if (!it->array) return nullptr;
  const Node* n = node_of(it->array);
  if (n->ndim == 0 || it->next >= n->shape[0]) {
    Py_CLEAR(it->array);
    return nullptr;
  }
  Ref key(PyLong_FromLongLong(it->next));
  if (!key) return nullptr;
  ++it->next;
  return array_subscript(it->array, key.get());
}

PyObject* length_hint(PyObject* self, PyObject*) {
  auto* it = reinterpret_cast<IteratorObject*>(self);
  const Node* n = it->array ? node_of(it->array) : nullptr;
  return PyLong_FromLongLong(n && n->ndim > 0 && n->shape[0] > it->next ? n->shape[0] - it->next : 0);
}

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  Py_XDECREF(reinterpret_cast<IteratorObject*>(self)->array);
  PyObject_Free(self);
  Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"__length_hint__", length_hint, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_iter, reinterpret_cast<void*>(PyObject_SelfIter)},
    {Py_tp_iternext, reinterpret_cast<void*>(next_row)},
    {Py_tp_methods, methods},
    {Py_tp_doc, const_cast<char*>("The rows of an array, one after the other: what iter(a) gives.")},
    {0, nullptr},
};
PyType_Spec spec = {"bridge.ArrayIterator", sizeof(IteratorObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

}  // namespace

void make_iterator_type(PyObject* module) {
  iterator_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!iterator_type || PyModule_AddObjectRef(module, "ArrayIterator", reinterpret_cast<PyObject*>(iterator_type)) < 0)
    throw PythonError{};
}

PyObject* array_iter(PyObject* self) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    if (node_of(self)->ndim == 0) raise_type("iteration over a 0-d array");
    if (!node_of(self)->is(kSymbolic)) evaluated_node(self);
    auto* it = PyObject_New(IteratorObject, iterator_type);
    if (!it) throw PythonError{};
    it->array = Py_NewRef(self);
    it->next = 0;
    return reinterpret_cast<PyObject*>(it);
  });
}

}  // namespace bridge
