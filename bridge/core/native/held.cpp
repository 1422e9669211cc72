#include "held.h"

#include "array.h"
#include "errors.h"

namespace bridge {
namespace {

Ref call(const char* function, PyObject* first, DType t) {
  Ref module = Ref::check(PyImport_ImportModule("bridge.core.held"));
  return Ref::check(PyObject_CallMethod(module.get(), function, "OO", first, dtype_object(t)));
}

NodeRef convert(Node* a, DType t) {
  Ref source = Ref::check(wrap(NodeRef::borrow(a)));
  Ref result = call("convert", source.get(), t);
  if (!is_array(result.get())) raise_type("[bridge] held.convert() must return an array.");
  return NodeRef::borrow(node_of(result.get()));
}

Ref python_number(const Weak& w) {
  if (w.category >= Weak::floating) return Ref::check(PyFloat_FromDouble(w.real));
  if (w.is_unsigned) return Ref::check(PyLong_FromUnsignedLongLong(static_cast<uint64_t>(w.bits)));
  return Ref::check(PyLong_FromLongLong(w.bits));
}

}  // namespace

void refuse_held(DType t, const char* op) {
  Ref name = Ref::check(PyUnicode_FromString(op));
  call("refuse", name.get(), t);  // raises
  raise_type("[bridge] held.refuse() must raise.");
}

DType refuse_promotion(DType a, DType b) {
  call("refuse_promotion", dtype_object(a), b);  // raises
  raise_type("[bridge] held.refuse_promotion() must raise.");
}

NodeRef decode_held(Node* a) { return convert(a, info(a->dtype).exact); }

NodeRef convert_to_held(Node* a, DType t) { return convert(a, t); }

ScalarValue encode_held(const Weak& w, DType t) {
  Ref byte = call("encode", python_number(w).get(), t);
  long bits = PyLong_AsLong(byte.get());
  if (bits == -1 && PyErr_Occurred()) throw PythonError{};
  ScalarValue v{};
  v.bytes[0] = static_cast<unsigned char>(bits);
  return v;
}

PyObject* held_value(DType t, unsigned char byte) {
  static PyObject* tables[kDTypeCount - kComputedCount];  // tuples of 256 numbers, made once
  PyObject*& table = tables[static_cast<int>(t) - kComputedCount];
  if (!table) {
    Ref module = Ref::check(PyImport_ImportModule("bridge.core.held"));
    Ref made = Ref::check(PyObject_CallMethod(module.get(), "values", "O", dtype_object(t)));
    if (!PyTuple_CheckExact(made.get()) || PyTuple_GET_SIZE(made.get()) != 256)
      raise_type("[bridge] held.values() must return 256 numbers.");
    if (!table) table = made.release();
  }
  return Py_NewRef(PyTuple_GET_ITEM(table, byte));
}

}  // namespace bridge
