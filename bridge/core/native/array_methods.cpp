// Attributes and methods of bridge.array that are native; ops are attached as methods by bridge/core/ops/.
#include "array.h"
#include "dlpack.h"
#include "eval.h"
#include "primitive.h"
#include "stream.h"
#include "trace.h"

namespace bridge {
namespace {

Node* measured(PyObject* self) {
  note_extent_read(node_of(self));
  return node_of(self);
}

PyObject* get_shape(PyObject* self, void*) {
  return guard(static_cast<PyObject*>(nullptr),
               [&] { return shape_tuple(measured(self)->ndim, node_of(self)->shape); });
}
PyObject* get_ndim(PyObject* self, void*) { return PyLong_FromLong(node_of(self)->ndim); }
PyObject* get_size(PyObject* self, void*) { return PyLong_FromLongLong(measured(self)->size); }
PyObject* get_itemsize(PyObject* self, void*) { return PyLong_FromLongLong(itemsize(node_of(self)->dtype)); }
PyObject* get_nbytes(PyObject* self, void*) { return PyLong_FromLongLong(measured(self)->nbytes()); }
PyObject* get_dtype(PyObject* self, void*) { return Py_NewRef(dtype_object(node_of(self)->dtype)); }
PyObject* get_transposed(PyObject* self, void*) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    Node* n = node_of(self);
    int reversed[kMaxNdim];
    for (int i = 0; i < n->ndim; ++i) reversed[i] = n->ndim - 1 - i;
    return wrap(make_transpose(n, reversed));
  });
}

PyObject* item(PyObject* self, PyObject*) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    Node* n = node_of(self);
    if (n->size != 1)
      raise_value(message("bridge.array.item", "only an array with one element can be converted to a Python scalar.",
                          describe(n), "", "a.tolist()"));
    NodeRef held = evaluated_node(self);
    return to_python(held->dtype, held->data);
  });
}

PyObject* tolist(PyObject* self, PyObject*) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    NodeRef n = evaluated_node(self);
    return to_list(n.get());
  });
}

PyObject* astype(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    static const char* const kNames[] = {"dtype", "stream"};
    PyObject* values[2] = {};
    parse_arguments({"astype", kNames, 2, 1, 2}, args, nargs, names, values);
    const StreamScope scope(stream_of(values[1]));
    DType wanted = to_dtype(values[0]);  // may run Python code, in which the array may be rebound
    return wrap(wanted == node_of(self)->dtype ? make_value(node_of(self)) : make_cast(node_of(self), wanted));
  });
}

PyObject* copy(PyObject* self, PyObject*) {
  return guard(static_cast<PyObject*>(nullptr), [&] { return wrap(make_value(node_of(self))); });
}

PyObject* deep_copy(PyObject* self, PyObject*) {
  return guard(static_cast<PyObject*>(nullptr), [&] { return wrap(make_copy(node_of(self))); });
}

PyObject* reduce(PyObject* self, PyObject* protocol) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    Ref module = Ref::check(PyImport_ImportModule("bridge.core.pickling"));
    return PyObject_CallMethod(module.get(), "reduce_array", "OO", self, protocol);
  });
}

PyObject* complex_value(PyObject* self, PyObject*) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    Node* n = node_of(self);
    if (n->size != 1)
      raise_value(message("bridge.array", "only an array with one element can be converted to complex.", describe(n)));
    NodeRef held = evaluated_node(self);
    Ref value = Ref::check(to_python(held->dtype, held->data));
    Py_complex c = PyComplex_AsCComplex(value.get());
    if (PyErr_Occurred()) throw PythonError{};
    return PyComplex_FromCComplex(c);
  });
}

template <class F>
PyCFunction fast(F* f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}

}  // namespace

PyMethodDef array_methods[] = {
    {"item", item, METH_NOARGS,
     "item($self)\n--\n\nThe only element as a Python scalar. Evaluates. ValueError if there is not exactly one."},
    {"tolist", tolist, METH_NOARGS,
     "tolist($self)\n--\n\nThe elements as nested lists of Python scalars (a scalar for 0-d). Evaluates."},
    {"astype", fast(astype), METH_FASTCALL | METH_KEYWORDS,
     "astype($self, dtype, stream=None)\n--\n\nThe array converted to another dtype; itself when it has it already."},
    {"reshape", fast(method_reshape), METH_FASTCALL | METH_KEYWORDS,
     "reshape($self, *shape, stream=None)\n--\n\nSame elements, another shape; one extent may be -1. Shares the bytes "
     "where "
     "strides allow it."},
    {"transpose", fast(method_transpose), METH_FASTCALL | METH_KEYWORDS,
     "transpose($self, *axes, stream=None)\n--\n\nAxes in another order, reversed by default; shares the bytes."},
    {"__array__", fast(array_dunder_array), METH_FASTCALL | METH_KEYWORDS,
     "__array__($self, dtype=None, copy=None)\n--\n\nA numpy.ndarray over the same bytes where that is possible "
     "(bfloat16 as "
     "ml_dtypes.bfloat16).\n"
     "copy=False raises CopyRequired where it is not."},
    {"__dlpack__", fast(dlpack::array_dlpack), METH_FASTCALL | METH_KEYWORDS,
     "__dlpack__($self, *, stream=None, max_version=None, dl_device=None, copy=None)\n--\n\nA DLPack capsule over the "
     "array's "
     "bytes: versioned when max_version allows it, else legacy.\n"
     "BufferError when the request cannot be met. Source: DLPack 1.3."},
    {"__dlpack_device__", dlpack::array_dlpack_device, METH_NOARGS,
     "__dlpack_device__($self)\n--\n\n(1, 0): CPU memory."},
    {"__copy__", copy, METH_NOARGS, nullptr},
    {"__deepcopy__", deep_copy, METH_O, nullptr},
    {"__reduce_ex__", reduce, METH_O, nullptr},
    {"__complex__", complex_value, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef array_getset[] = {
    {"shape", get_shape, nullptr, "Extents, one an axis (tuple of int).", nullptr},
    {"ndim", get_ndim, nullptr, "Number of axes.", nullptr},
    {"size", get_size, nullptr, "Number of elements.", nullptr},
    {"itemsize", get_itemsize, nullptr, "Bytes of one element.", nullptr},
    {"nbytes", get_nbytes, nullptr, "Bytes of all elements.", nullptr},
    {"dtype", get_dtype, nullptr, "Type of the elements (Dtype).", nullptr},
    {"T", get_transposed, nullptr, "The array with its axes reversed; shares the bytes.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

}  // namespace bridge
