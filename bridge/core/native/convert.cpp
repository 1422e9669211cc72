// Between Python values and nodes: scalars, nested sequences, foreign arrays, item() and tolist().
#include <cmath>
#include <string>
#include <vector>

#include "array.h"
#include "eval.h"
#include "held.h"

namespace bridge {
namespace {

float half_to_float(uint16_t h) {
  int sign = h >> 15, e = h >> 10 & 31, m = h & 1023;
  float v = e == 31 ? (m ? NAN : INFINITY)
            : e     ? std::ldexp(static_cast<float>(m + 1024), e - 25)
                    : std::ldexp(static_cast<float>(m), -24);
  return sign ? -v : v;
}

template <class T>
T load(const unsigned char* p) {
  T v;
  memcpy(&v, p, sizeof v);
  return v;
}

bool is_text(PyObject* o) { return PyUnicode_Check(o) || PyBytes_Check(o) || PyByteArray_Check(o); }

bool is_foreign_array(PyObject* o) {
  if (is_text(o) || PyType_Check(o)) return false;
  for (const char* name : {"__dlpack__", "__array_interface__", "__array__"}) {
    PyObject* type = reinterpret_cast<PyObject*>(Py_TYPE(o));
    if (PyObject_HasAttrString(type, name)) return true;
  }
  return PyObject_CheckBuffer(o);
}

bool is_sequence(PyObject* o) { return PyList_Check(o) || PyTuple_Check(o) || PyRange_Check(o); }

// A nested sequence, flattened: extents of the nesting and the leaves in order.
struct Leaves {
  int64_t shape[kMaxNdim];
  int ndim = 0;
  std::vector<Ref> owners;       // keep the leaves alive
  std::vector<PyObject*> items;  // borrowed
};

void measure(PyObject* value, Leaves& out) {
  Ref level = Ref::borrow(value);
  while (is_sequence(level.get())) {
    if (out.ndim == kMaxNdim)
      raise_value(message("bridge.array", "the sequence is nested too deeply.", "",
                          "at most " + std::to_string(kMaxNdim) + " levels"));
    Py_ssize_t n = PySequence_Size(level.get());
    if (n < 0) throw PythonError{};
    out.shape[out.ndim++] = n;
    if (n == 0) break;
    level = Ref::check(PySequence_GetItem(level.get(), 0));
  }
}

[[noreturn]] void ragged(const Leaves& out) {
  raise_value(message("bridge.array", "the nested sequence is ragged: its rows differ in length or depth.", "",
                      "rows that all have the shape of the first: " + shape_text(out.ndim, out.shape)));
}

void flatten(PyObject* value, int depth, Leaves& out) {
  if (depth == out.ndim) {
    if (is_sequence(value)) ragged(out);
    out.items.push_back(value);
    return;
  }
  if (!is_sequence(value)) ragged(out);
  Ref fast = Ref::check(PySequence_Fast(value, "a sequence"));
  Py_ssize_t n = PySequence_Fast_GET_SIZE(fast.get());
  if (n != out.shape[depth]) ragged(out);
  for (Py_ssize_t i = 0; i < n; ++i) flatten(PySequence_Fast_GET_ITEM(fast.get(), i), depth + 1, out);
  out.owners.push_back(std::move(fast));
}

DType common_dtype(const std::vector<Weak>& values) {
  Weak::Category category = Weak::boolean;
  bool wide = false, is_unsigned = false, negative = false;
  for (const Weak& w : values) {
    category = std::max(category, w.category);
    if (w.category != Weak::integer) continue;
    if (w.is_unsigned)
      is_unsigned = true;
    else if (w.bits < INT32_MIN || w.bits > INT32_MAX)
      wide = true;
    negative |= !w.is_unsigned && w.bits < 0;
  }
  if (category != Weak::integer) return default_dtype(Weak{category});
  if (is_unsigned && negative)
    throw Error(PyExc_OverflowError,
                "[bridge.array] no integer dtype holds both negative values and values above int64.");
  return is_unsigned ? DType::uint64 : wide ? DType::int64 : DType::int32;
}

NodeRef from_sequence(PyObject* value, PyObject* dtype) {
  Leaves leaves;
  measure(value, leaves);
  flatten(value, 0, leaves);
  std::vector<Weak> scalars(leaves.items.size());
  bool all_scalars = true;
  for (size_t i = 0; i < scalars.size() && all_scalars; ++i) all_scalars = to_weak(leaves.items[i], &scalars[i]);
  if (!all_scalars) {  // a sequence of arrays: stack them
    std::vector<NodeRef> parts;
    for (PyObject* item : leaves.items) {
      NodeRef part = from_python(item, dtype);
      if (!parts.empty() &&
          (part->ndim != parts[0]->ndim || memcmp(part->shape, parts[0]->shape, sizeof(int64_t) * part->ndim)))
        ragged(leaves);
      parts.push_back(std::move(part));
    }
    int64_t one[kMaxNdim] = {1};
    int inner = parts[0]->ndim;
    if (leaves.ndim + inner > kMaxNdim) raise_value("[bridge.array] too many dimensions.");
    memcpy(one + 1, parts[0]->shape, sizeof(int64_t) * static_cast<size_t>(inner));
    memcpy(leaves.shape + leaves.ndim, parts[0]->shape, sizeof(int64_t) * static_cast<size_t>(inner));
    for (NodeRef& part : parts) part = make_reshape(part.get(), inner + 1, one);
    NodeRef joined = make_concatenate(parts.data(), static_cast<int>(parts.size()), 0);
    return make_reshape(joined.get(), leaves.ndim + inner, leaves.shape);
  }
  DType t = dtype ? to_dtype(dtype) : scalars.empty() ? DType::float32 : common_dtype(scalars);
  NodeRef n = make_dense(t, leaves.ndim, leaves.shape);
  auto item = static_cast<size_t>(itemsize(t));
  for (size_t i = 0; i < scalars.size(); ++i) {
    ScalarValue v = encode(scalars[i], t, "bridge.array");
    memcpy(n->data + i * item, v.bytes, item);
  }
  return n;
}

PyObject* list_level(const Node* n, int axis, const unsigned char* at) {
  if (axis == n->ndim) return to_python(n->dtype, at);
  Ref list = Ref::check(PyList_New(n->shape[axis]));
  // The stride of an axis that is not walked along may be anything.
  int64_t step = n->size && n->shape[axis] > 1 ? n->strides[axis] * itemsize(n->dtype) : 0;
  for (int64_t i = 0; i < n->shape[axis]; ++i) {
    PyObject* item = list_level(n, axis + 1, at + i * step);
    if (!item) throw PythonError{};
    PyList_SET_ITEM(list.get(), i, item);
  }
  return list.release();
}

}  // namespace

bool to_weak(PyObject* o, Weak* out) {
  if (PyFloat_Check(o)) {
    out->category = Weak::floating;
    out->real = PyFloat_AS_DOUBLE(o);
    return true;
  }
  if (PyBool_Check(o)) {
    out->category = Weak::boolean;
    out->bits = o == Py_True;
    return true;
  }
  if (PyLong_Check(o)) {
    out->category = Weak::integer;
    int overflow = 0;
    out->bits = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (overflow > 0) {
      unsigned long long u = PyLong_AsUnsignedLongLong(o);
      if (u == static_cast<unsigned long long>(-1) && PyErr_Occurred()) {
        PyErr_Clear();
        throw Error(PyExc_OverflowError, "[bridge] the Python integer is larger than any integer dtype holds.");
      }
      out->is_unsigned = true;
      out->bits = static_cast<int64_t>(u);
    } else if (overflow < 0) {
      throw Error(PyExc_OverflowError, "[bridge] the Python integer is smaller than any integer dtype holds.");
    } else if (out->bits == -1 && PyErr_Occurred()) {
      throw PythonError{};
    }
    return true;
  }
  if (PyComplex_Check(o)) {
    out->category = Weak::complex;
    out->real = PyComplex_RealAsDouble(o);
    out->imag = PyComplex_ImagAsDouble(o);
    return true;
  }
  return false;
}

bool to_operand(PyObject* o, Operand* out) {
  if (is_array(o)) {
    out->node = NodeRef::borrow(node_of(o));
    return true;
  }
  if (to_weak(o, &out->weak)) return true;
  if (!is_foreign_array(o)) return false;
  out->node = import_lossless(o);
  return true;
}

Operand need_operand(PyObject* o, const char* op) {
  Operand operand;
  if (!to_operand(o, &operand))
    raise_type(message(std::string("bridge.") + op, "an operand is neither an array nor a number.", Py_TYPE(o)->tp_name,
                       "an array or a Python scalar", "bridge.array(...)"));
  return operand;
}

NodeRef import_lossless(PyObject* value) {
  Ref module = Ref::check(PyImport_ImportModule("bridge.core.interop"));
  Ref array = Ref::check(PyObject_CallMethod(module.get(), "from_", "O", value));
  if (!is_array(array.get()))
    raise_type(message("bridge.array", "the value did not import as an array.", Py_TYPE(value)->tp_name));
  return NodeRef::borrow(node_of(array.get()));
}

NodeRef from_python(PyObject* value, PyObject* dtype) {
  if (is_array(value)) {
    NodeRef source = NodeRef::borrow(node_of(value));
    if (dtype && to_dtype(dtype) != source->dtype) return make_cast(source.get(), to_dtype(dtype));
    return make_copy(source.get());
  }
  Weak w;
  if (to_weak(value, &w)) {
    DType t = dtype ? to_dtype(dtype) : default_dtype(w);
    return make_constant(t, encode(w, t, "bridge.array"));
  }
  if (is_sequence(value)) return from_sequence(value, dtype);
  if (!is_foreign_array(value))
    raise_type(message("bridge.array", "the value is not a number, a sequence or an array.", Py_TYPE(value)->tp_name));
  NodeRef imported = import_lossless(value);
  DType t = imported->dtype;
  if (dtype)
    t = to_dtype(dtype);
  else if (t == DType::float64)
    t = DType::float32;  // MLX's constructor; asarray() keeps the dtype
  else if (t == DType::complex128)
    t = DType::complex64;
  NodeRef copy = t == imported->dtype ? make_copy(imported.get()) : make_cast(imported.get(), t);
  evaluate(copy.get());  // the owner may write its memory after this call
  return copy;
}

PyObject* to_python(DType t, const unsigned char* p) {
  if (is_held(t)) return held_value(t, *p);
  switch (t) {
    case DType::bool_: return PyBool_FromLong(*p);
    case DType::uint8: return PyLong_FromLong(*p);
    case DType::uint16: return PyLong_FromLong(load<uint16_t>(p));
    case DType::uint32: return PyLong_FromUnsignedLong(load<uint32_t>(p));
    case DType::uint64: return PyLong_FromUnsignedLongLong(load<uint64_t>(p));
    case DType::int8: return PyLong_FromLong(load<int8_t>(p));
    case DType::int16: return PyLong_FromLong(load<int16_t>(p));
    case DType::int32: return PyLong_FromLong(load<int32_t>(p));
    case DType::int64: return PyLong_FromLongLong(load<int64_t>(p));
    case DType::float16: return PyFloat_FromDouble(static_cast<double>(half_to_float(load<uint16_t>(p))));
    case DType::bfloat16: {
      uint32_t bits = static_cast<uint32_t>(load<uint16_t>(p)) << 16;
      float f;
      memcpy(&f, &bits, 4);
      return PyFloat_FromDouble(static_cast<double>(f));
    }
    case DType::float32: return PyFloat_FromDouble(static_cast<double>(load<float>(p)));
    case DType::float64: return PyFloat_FromDouble(load<double>(p));
    case DType::complex64:
      return PyComplex_FromDoubles(static_cast<double>(load<float>(p)), static_cast<double>(load<float>(p + 4)));
    default: break;  // complex128
  }
  return PyComplex_FromDoubles(load<double>(p), load<double>(p + 8));
}

PyObject* to_list(const Node* n) { return list_level(n, 0, n->data); }

}  // namespace bridge
