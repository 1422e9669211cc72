#include "array.h"

#include <structmember.h>

#include "eval.h"
#include "iterator.h"
#include "sanitize.h"
#include "trace.h"

namespace bridge {

PyTypeObject* array_type = nullptr;
PyTypeObject* dtype_type = nullptr;

namespace {

// ---- Dtype ----

struct DtypeObject { PyObject_HEAD DType value; };
PyObject* dtype_objects[kDTypeCount];

DType value_of(PyObject* o) { return reinterpret_cast<DtypeObject*>(o)->value; }

PyObject* dtype_repr(PyObject* self) {
  return PyUnicode_FromFormat("bridge.%s", value_of(self) == DType::bool_ ? "bool_" : info(value_of(self)).name);
}
PyObject* dtype_name(PyObject* self, void*) { return PyUnicode_FromString(info(value_of(self)).name); }
PyObject* dtype_size(PyObject* self, void*) { return PyLong_FromLongLong(itemsize(value_of(self))); }
PyObject* dtype_code(PyObject* self, void*) { return PyLong_FromLong(static_cast<int>(value_of(self))); }
PyObject* dtype_reduce(PyObject* self, PyObject*) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    Ref module = Ref::check(PyImport_ImportModule("bridge.core._native"));
    Ref lookup = Ref::check(PyObject_GetAttrString(module.get(), "_dtype"));
    return Py_BuildValue("O(s)", lookup.get(), info(value_of(self)).name);
  });
}
PyObject* dtype_same(PyObject* self, PyObject*) { return Py_NewRef(self); }

PyGetSetDef dtype_getset[] = {
    {"name", dtype_name, nullptr, "Name of the element type, for example 'float32'.", nullptr},
    {"size", dtype_size, nullptr, "Bytes of one element.", nullptr},
    {"code", dtype_code, nullptr, "Row of this dtype in the dtype table.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMethodDef dtype_methods[] = {
    {"__reduce__", dtype_reduce, METH_NOARGS, nullptr},
    {"__copy__", dtype_same, METH_NOARGS, nullptr},
    {"__deepcopy__", dtype_same, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot dtype_slots[] = {
    {Py_tp_repr, reinterpret_cast<void*>(dtype_repr)},
    {Py_tp_getset, dtype_getset},
    {Py_tp_methods, dtype_methods},
    {Py_tp_doc, const_cast<char*>("Type of an array's elements. Compared by identity: equal to nothing foreign.")},
    {0, nullptr},
};
PyType_Spec dtype_spec = {"bridge.Dtype", sizeof(DtypeObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                          dtype_slots};

// ---- array ----

constexpr int kKept = 256;
ArrayObject* kept[kKept];
int n_kept = 0;

void array_dealloc(PyObject* self) {
  auto* a = reinterpret_cast<ArrayObject*>(self);
  if (a->weakrefs) PyObject_ClearWeakRefs(self);
  if (a->node) {
    --a->node->handles;
    release(a->node);
  }
  PyTypeObject* type = Py_TYPE(self);
  if (kKeepFreed && type == array_type && n_kept < kKept) {
    kept[n_kept++] = a;
  } else {
    type->tp_free(self);  // of a subclass: it has a dictionary, and the collector knows it
  }
  Py_DECREF(type);
}

PyObject* array_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    static const char* names[] = {"val", "dtype", nullptr};
    PyObject *value = nullptr, *dtype = nullptr;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:array", const_cast<char**>(names), &value, &dtype))
      throw PythonError{};
    Ref result = Ref::check(wrap(from_python(value, dtype == Py_None ? nullptr : dtype)));
    if (type == array_type) return result.release();
    auto* a = reinterpret_cast<ArrayObject*>(type->tp_alloc(type, 0));
    if (!a) throw PythonError{};
    a->node = retain(node_of(result.get()));
    ++a->node->handles;
    return reinterpret_cast<PyObject*>(a);
  });
}

// One operand is an array. Fast path for array op array; everything else through to_operand.
PyObject* binary(Stage stage, PyObject* x, PyObject* y) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    if (Py_TYPE(x) == array_type && Py_TYPE(y) == array_type) {
      Node *a = node_of(x), *b = node_of(y);
      return wrap(make_binary(stage, a, b));
    }
    // A float beside a float32 array, the most common scalar: no promotion to decide.
    if (Py_TYPE(x) == array_type && PyFloat_CheckExact(y) && node_of(x)->dtype == DType::float32) {
      ScalarValue value{};
      auto narrowed = static_cast<float>(PyFloat_AS_DOUBLE(y));
      memcpy(value.bytes, &narrowed, sizeof narrowed);
      return wrap(make_with_scalar(stage, node_of(x), value));
    }
    Operand operands[2];
    if (!to_operand(x, &operands[0]) || !to_operand(y, &operands[1])) return Py_NewRef(Py_NotImplemented);
    return wrap(make_elementwise(stage, operands, 2));
  });
}

PyObject* unary(Stage stage, PyObject* x) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    Operand operand{NodeRef::borrow(node_of(x)), {}};
    return wrap(make_elementwise(stage, &operand, 1));
  });
}

PyObject* in_place(Stage stage, PyObject* x, PyObject* y) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    Operand operands[2];
    if (!to_operand(x, &operands[0]) || !to_operand(y, &operands[1])) return Py_NewRef(Py_NotImplemented);
    NodeRef result = make_elementwise(stage, operands, 2);
    operands[0] = {};  // drop the reference: bytes may be given away
    update_in_place(x, std::move(result));
    return Py_NewRef(x);
  });
}

template <Stage stage>
PyObject* slot_binary(PyObject* x, PyObject* y) {
  return binary(stage, x, y);
}
template <Stage stage>
PyObject* slot_in_place(PyObject* x, PyObject* y) {
  return in_place(stage, x, y);
}
template <Stage stage>
PyObject* slot_unary(PyObject* x) {
  return unary(stage, x);
}

PyObject* slot_power(PyObject* x, PyObject* y, PyObject* modulus) {
  if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
  return binary(Stage::power, x, y);
}
PyObject* slot_in_place_power(PyObject* x, PyObject* y, PyObject* modulus) {
  if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
  return in_place(Stage::power, x, y);
}

PyObject* slot_divmod(PyObject* x, PyObject* y) {
  Ref quotient(binary(Stage::floor_divide, x, y));
  if (!quotient || quotient.get() == Py_NotImplemented) return quotient.release();
  Ref remainder(binary(Stage::remainder, x, y));
  if (!remainder) return nullptr;
  return PyTuple_Pack(2, quotient.get(), remainder.get());
}

PyObject* slot_positive(PyObject* x) {
  return guard(static_cast<PyObject*>(nullptr), [&] { return wrap(make_value(node_of(x))); });
}

PyObject* slot_invert(PyObject* x) {
  return unary(node_of(x)->dtype == DType::bool_ ? Stage::logical_not : Stage::bitwise_invert, x);
}

PyObject* slot_matmul(PyObject* x, PyObject* y) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    Operand a, b;
    if (!to_operand(x, &a) || !to_operand(y, &b)) return Py_NewRef(Py_NotImplemented);
    return wrap(make_matmul(a, b));
  });
}

PyObject* slot_in_place_matmul(PyObject* x, PyObject* y) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    Operand a, b;
    if (!to_operand(x, &a) || !to_operand(y, &b)) return Py_NewRef(Py_NotImplemented);
    NodeRef result = make_matmul(a, b);
    a = {};
    update_in_place(x, std::move(result));
    return Py_NewRef(x);
  });
}

PyObject* array_compare(PyObject* x, PyObject* y, int op) {
  switch (op) {
    case Py_LT: return binary(Stage::less, x, y);
    case Py_LE: return binary(Stage::less_equal, x, y);
    case Py_EQ: return binary(Stage::equal, x, y);
    case Py_NE: return binary(Stage::not_equal, x, y);
    case Py_GT: return binary(Stage::greater, x, y);
    default: return binary(Stage::greater_equal, x, y);
  }
}

// The only element, evaluated.
NodeRef single(PyObject* self, const char* what) {
  Node* n = node_of(self);
  if (n->size != 1)
    raise_value(message("bridge.array", std::string("only an array with one element can be converted to ") + what + ".",
                        describe(n)));
  return evaluated_node(self);
}

int array_bool(PyObject* self) {
  return guard(-1, [&] {
    const Node* n = node_of(self);
    if (n->size != 1)
      raise_value(message("bridge.array",
                          "the truth value of an array with " + std::to_string(n->size) + " elements is ambiguous.",
                          describe(n), "", "bridge.any(a) or bridge.all(a)"));
    NodeRef held = evaluated_node(self);
    Ref value = Ref::check(to_python(held->dtype, held->data));
    int t = PyObject_IsTrue(value.get());
    if (t < 0) throw PythonError{};
    return t;
  });
}

PyObject* array_int(PyObject* self) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    NodeRef n = single(self, "int");
    return PyNumber_Long(Ref::check(to_python(n->dtype, n->data)).get());
  });
}

PyObject* array_float(PyObject* self) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    NodeRef n = single(self, "float");
    return PyNumber_Float(Ref::check(to_python(n->dtype, n->data)).get());
  });
}

PyObject* array_index(PyObject* self) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    const Node* n = node_of(self);
    if (kind(n->dtype) != Kind::signed_integer && kind(n->dtype) != Kind::unsigned_integer)
      raise_type(message("bridge.array", "only integer arrays with one element can be used as an index.", describe(n)));
    if (n->size != 1)
      raise_type(message("bridge.array", "only integer arrays with one element can be used as an index.", describe(n)));
    NodeRef held = evaluated_node(self);
    return to_python(held->dtype, held->data);
  });
}

Py_ssize_t array_length(PyObject* self) {
  const Node* n = node_of(self);
  if (n->ndim == 0) {
    PyErr_SetString(PyExc_TypeError, "len() of a 0-d array");
    return -1;
  }
  note_extent_read(n);
  return static_cast<Py_ssize_t>(n->shape[0]);
}

PyObject* array_item(PyObject* self, Py_ssize_t i) {
  if (i >= array_length(self)) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_IndexError, "array index out of range");
    return nullptr;
  }
  Ref key(PyLong_FromSsize_t(i));
  return key ? array_subscript(self, key.get()) : nullptr;
}

int array_contains(PyObject* self, PyObject* value) {
  return guard(-1, [&] {
    Ref equal = Ref::check(array_compare(self, value, Py_EQ));
    if (equal.get() == Py_NotImplemented) return 0;
    NodeRef any = make_reduction(Reduce::any, node_of(equal.get()), (1ull << node_of(equal.get())->ndim) - 1, false);
    evaluate(any.get());
    return *any->data != 0 ? 1 : 0;
  });
}

PyObject* array_repr(PyObject* self) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    Ref module = Ref::check(PyImport_ImportModule("bridge.core.printing"));
    return PyObject_CallMethod(module.get(), "format_array", "O", self);
  });
}

Py_hash_t array_hash(PyObject* self) {  // by identity: == gives an array
  auto bits = reinterpret_cast<uintptr_t>(self);
  auto hash = static_cast<Py_hash_t>(bits >> 4 | bits << (8 * sizeof(bits) - 4));
  return hash == -1 ? -2 : hash;
}

PyMemberDef array_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ArrayObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

#define SLOT(id, f) {id, reinterpret_cast<void*>(f)}
PyType_Slot array_slots[] = {
    SLOT(Py_tp_dealloc, array_dealloc),
    SLOT(Py_tp_new, array_new),
    SLOT(Py_tp_repr, array_repr),
    SLOT(Py_tp_hash, array_hash),
    SLOT(Py_tp_richcompare, array_compare),
    SLOT(Py_tp_iter, array_iter),
    {Py_tp_members, array_members},
    {Py_tp_methods, array_methods},
    {Py_tp_getset, array_getset},
    {Py_tp_doc, const_cast<char*>("array(val, dtype=None)\n--\n\n"
                                  "A lazy n-dimensional array: a copy of val.\n\n"
                                  "Args:\n"
                                  "    val:   scalar, nested sequence, or an array of any framework.\n"
                                  "    dtype: element type; by default float32 for floats (also for float64 input),\n"
                                  "           int32 for Python integers, otherwise the dtype of val.\n\n"
                                  "asarray() is the constructor that shares memory and keeps float64.")},
    SLOT(Py_nb_add, slot_binary<Stage::add>),
    SLOT(Py_nb_subtract, slot_binary<Stage::subtract>),
    SLOT(Py_nb_multiply, slot_binary<Stage::multiply>),
    SLOT(Py_nb_true_divide, slot_binary<Stage::divide>),
    SLOT(Py_nb_floor_divide, slot_binary<Stage::floor_divide>),
    SLOT(Py_nb_remainder, slot_binary<Stage::remainder>),
    SLOT(Py_nb_divmod, slot_divmod),
    SLOT(Py_nb_power, slot_power),
    SLOT(Py_nb_and, slot_binary<Stage::bitwise_and>),
    SLOT(Py_nb_or, slot_binary<Stage::bitwise_or>),
    SLOT(Py_nb_xor, slot_binary<Stage::bitwise_xor>),
    SLOT(Py_nb_lshift, slot_binary<Stage::left_shift>),
    SLOT(Py_nb_rshift, slot_binary<Stage::right_shift>),
    SLOT(Py_nb_matrix_multiply, slot_matmul),
    SLOT(Py_nb_inplace_add, slot_in_place<Stage::add>),
    SLOT(Py_nb_inplace_subtract, slot_in_place<Stage::subtract>),
    SLOT(Py_nb_inplace_multiply, slot_in_place<Stage::multiply>),
    SLOT(Py_nb_inplace_true_divide, slot_in_place<Stage::divide>),
    SLOT(Py_nb_inplace_floor_divide, slot_in_place<Stage::floor_divide>),
    SLOT(Py_nb_inplace_remainder, slot_in_place<Stage::remainder>),
    SLOT(Py_nb_inplace_power, slot_in_place_power),
    SLOT(Py_nb_inplace_and, slot_in_place<Stage::bitwise_and>),
    SLOT(Py_nb_inplace_or, slot_in_place<Stage::bitwise_or>),
    SLOT(Py_nb_inplace_xor, slot_in_place<Stage::bitwise_xor>),
    SLOT(Py_nb_inplace_lshift, slot_in_place<Stage::left_shift>),
    SLOT(Py_nb_inplace_rshift, slot_in_place<Stage::right_shift>),
    SLOT(Py_nb_inplace_matrix_multiply, slot_in_place_matmul),
    SLOT(Py_nb_negative, slot_unary<Stage::negative>),
    SLOT(Py_nb_positive, slot_positive),
    SLOT(Py_nb_absolute, slot_unary<Stage::abs>),
    SLOT(Py_nb_invert, slot_invert),
    SLOT(Py_nb_bool, array_bool),
    SLOT(Py_nb_int, array_int),
    SLOT(Py_nb_float, array_float),
    SLOT(Py_nb_index, array_index),
    SLOT(Py_mp_length, array_length),
    SLOT(Py_mp_subscript, array_subscript),
    SLOT(Py_mp_ass_subscript, array_assign),
    SLOT(Py_sq_length, array_length),
    SLOT(Py_sq_item, array_item),
    SLOT(Py_sq_contains, array_contains),
    SLOT(Py_bf_getbuffer, array_getbuffer),
    {0, nullptr},
};
#undef SLOT
PyType_Spec array_spec = {"bridge.array", sizeof(ArrayObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                          array_slots};

}  // namespace

PyObject* wrap(NodeRef n) {
  ArrayObject* a;
  if (n_kept) {
    a = kept[--n_kept];
    PyObject_Init(reinterpret_cast<PyObject*>(a), array_type);
  } else {
    a = PyObject_New(ArrayObject, array_type);
    if (!a) throw PythonError{};
  }
  a->weakrefs = nullptr;
  a->node = n.release();
  ++a->node->handles;
  return reinterpret_cast<PyObject*>(a);
}

void rebind(PyObject* array, NodeRef n) {
  auto* a = reinterpret_cast<ArrayObject*>(array);
  Node* old = a->node;
  a->node = n.release();
  ++a->node->handles;
  --old->handles;
  release(old);
}

NodeRef evaluated_node(PyObject* array) {
  for (;;) {
    NodeRef n = NodeRef::borrow(node_of(array));
    if (n->evaluated()) {
      if (n->storage->check) n->storage->check(n->storage);
      return n;
    }
    evaluate(n.get());  // without the GIL; meanwhile another thread may rebind the array
  }
}

PyObject* dtype_object(DType t) { return dtype_objects[static_cast<int>(t)]; }

DType to_dtype(PyObject* o) {
  if (Py_TYPE(o) == dtype_type) return value_of(o);
  Ref module = Ref::check(PyImport_ImportModule("bridge.core.dtypes"));
  Ref found = Ref::check(PyObject_CallMethod(module.get(), "as_dtype", "O", o));
  if (Py_TYPE(found.get()) != dtype_type) raise_type("[bridge] as_dtype() must return a Dtype.");
  return value_of(found.get());
}

PyObject* shape_tuple(int ndim, const int64_t* values) {
  PyObject* t = PyTuple_New(ndim);
  if (!t) throw PythonError{};
  for (int i = 0; i < ndim; ++i) {
    PyObject* v = PyLong_FromLongLong(values[i]);
    if (!v) {
      Py_DECREF(t);
      throw PythonError{};
    }
    PyTuple_SET_ITEM(t, i, v);
  }
  return t;
}

int to_shape(PyObject* o, int64_t* shape, const char* op) {
  auto extent = [&](PyObject* item) -> int64_t {
    Ref index = Ref::check(PyNumber_Index(item));
    long long v = PyLong_AsLongLong(index.get());
    if (v == -1 && PyErr_Occurred()) throw PythonError{};
    return v;
  };
  if (PyIndex_Check(o) && !PySequence_Check(o)) {
    shape[0] = extent(o);
    return 1;
  }
  Ref items = Ref::check(PySequence_Fast(o, "a shape is an integer or a sequence of integers"));
  Py_ssize_t n = PySequence_Fast_GET_SIZE(items.get());
  if (n > kMaxNdim)
    raise_value(message(std::string("bridge.") + op, "too many dimensions.", std::to_string(n),
                        "at most " + std::to_string(kMaxNdim)));
  for (Py_ssize_t i = 0; i < n; ++i) shape[i] = extent(PySequence_Fast_GET_ITEM(items.get(), i));
  return static_cast<int>(n);
}

void make_array_types(PyObject* module) {
  dtype_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&dtype_spec));
  array_type = dtype_type ? reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&array_spec)) : nullptr;
  if (!array_type) throw PythonError{};
  Ref table = Ref::check(PyDict_New());
  for (int i = 0; i < kDTypeCount; ++i) {
    auto* d = PyObject_New(DtypeObject, dtype_type);
    if (!d) throw PythonError{};
    d->value = static_cast<DType>(i);
    dtype_objects[i] = reinterpret_cast<PyObject*>(d);
    if (PyDict_SetItemString(table.get(), kDTypes[i].name, dtype_objects[i]) < 0) throw PythonError{};
  }
  make_lease_type();
  Ref priority = Ref::check(PyFloat_FromDouble(1000.0));
  auto* a = reinterpret_cast<PyObject*>(array_type);
  if (PyObject_SetAttrString(a, "__array_priority__", priority.get()) < 0 ||
      PyModule_AddObjectRef(module, "array", a) < 0 ||
      PyModule_AddObjectRef(module, "Dtype", reinterpret_cast<PyObject*>(dtype_type)) < 0 ||
      PyModule_AddObjectRef(module, "Lease", reinterpret_cast<PyObject*>(lease_type)) < 0 ||
      PyModule_AddObjectRef(module, "DTYPES", table.get()) < 0)
    throw PythonError{};
}

}  // namespace bridge
