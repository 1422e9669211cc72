// Basic indexing: integers, slices, None and Ellipsis, for reading and for in-place updates.
#include "array.h"
#include "eval.h"

namespace bridge {
namespace {

// What a key selects: a slice of every axis, then a shape without the axes that integers took.
struct Selection {
  int64_t start[kMaxNdim], step[kMaxNdim], count[kMaxNdim];  // one entry an axis of the array
  int64_t shape[kMaxNdim];                                   // of the result
  int ndim = 0;
  bool whole = true;    // the slice is the array itself
  bool reshaped = false;
};

[[noreturn]] void unsupported(PyObject* key) {
  raise_type(message("bridge.array", "this kind of index is not supported.", Py_TYPE(key)->tp_name,
                     "integers, slices, None, Ellipsis and tuples of them"));
}

bool is_integer_index(PyObject* key) {
  if (PyLong_CheckExact(key)) return true;
  if (PyBool_Check(key)) return false;
  if (is_array(key)) {
    const Node* n = node_of(key);
    return n->ndim == 0 && (kind(n->dtype) == Kind::signed_integer || kind(n->dtype) == Kind::unsigned_integer);
  }
  return PyIndex_Check(key) && !PySequence_Check(key);
}

void take_integer(Selection& s, PyObject* key, int axis, int64_t extent) {
  Ref index = Ref::check(PyNumber_Index(key));
  int overflow = 0;
  long long given = PyLong_AsLongLongAndOverflow(index.get(), &overflow);
  long long i = given < 0 ? given + extent : given;
  if (overflow || i < 0 || i >= extent) {
    Ref text = Ref::check(PyObject_Str(index.get()));
    raise_index(message("bridge.array", "index " + std::string(PyUnicode_AsUTF8(text.get())) +
                                            " is out of bounds for axis " + std::to_string(axis) + " with size " +
                                            std::to_string(extent) + "."));
  }
  s.start[axis] = i;
  s.step[axis] = 1;
  s.count[axis] = 1;
  s.reshaped = true;
  s.whole = s.whole && extent == 1;
}

void take_slice(Selection& s, PyObject* key, int axis, int64_t extent) {
  Py_ssize_t start, stop, step;
  if (PySlice_Unpack(key, &start, &stop, &step) < 0) throw PythonError{};
  Py_ssize_t count = PySlice_AdjustIndices(static_cast<Py_ssize_t>(extent), &start, &stop, step);
  s.start[axis] = count ? start : 0;
  s.step[axis] = step;
  s.count[axis] = count;
  if (count != extent || (step != 1 && extent > 1)) s.whole = false;
  s.shape[s.ndim++] = count;
}

Selection select(const Node* n, PyObject* key) {
  Selection s;
  PyObject* const* items = &key;
  Py_ssize_t n_items = 1;
  if (PyTuple_Check(key)) {
    items = reinterpret_cast<PyTupleObject*>(key)->ob_item;
    n_items = PyTuple_GET_SIZE(key);
  }
  int taken = 0, added = 0;
  bool ellipsis = false;
  for (Py_ssize_t i = 0; i < n_items; ++i) {
    if (items[i] == Py_None) {
      ++added;
    } else if (items[i] == Py_Ellipsis) {
      if (ellipsis) raise_index("[bridge.array] an index can only have a single ellipsis ('...').");
      ellipsis = true;
    } else if (PySlice_Check(items[i]) || is_integer_index(items[i])) {
      ++taken;
    } else {
      unsupported(items[i]);
    }
  }
  if (taken > n->ndim)
    raise_index(message("bridge.array",
                        "too many indices: the array is " + std::to_string(n->ndim) + "-dimensional, but " +
                            std::to_string(taken) + " were indexed.",
                        describe(n)));
  if (n->ndim + added > kMaxNdim) raise_value("[bridge.array] the index would make too many dimensions.");
  int axis = 0;
  auto take_rest = [&](int count) {
    for (int k = 0; k < count; ++k, ++axis) {
      s.start[axis] = 0;
      s.step[axis] = 1;
      s.count[axis] = n->shape[axis];
      s.shape[s.ndim++] = n->shape[axis];
    }
  };
  for (Py_ssize_t i = 0; i < n_items; ++i) {
    if (items[i] == Py_None) {
      s.shape[s.ndim++] = 1;
      s.reshaped = true;
    } else if (items[i] == Py_Ellipsis) {
      take_rest(n->ndim - taken);
    } else if (PySlice_Check(items[i])) {
      take_slice(s, items[i], axis, n->shape[axis]);
      ++axis;
    } else {
      take_integer(s, items[i], axis, n->shape[axis]);
      ++axis;
    }
  }
  take_rest(n->ndim - axis);
  return s;
}

}  // namespace

PyObject* array_subscript(PyObject* self, PyObject* key) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    NodeRef n = NodeRef::borrow(node_of(self));
    Selection s = select(n.get(), key);
    NodeRef part = s.whole && s.reshaped ? n : make_slice(n.get(), s.start, s.step, s.count);
    if (s.reshaped) part = make_reshape(part.get(), s.ndim, s.shape);
    return wrap(std::move(part));
  });
}

int array_assign(PyObject* self, PyObject* key, PyObject* value) {
  return guard(-1, [&] {
    if (!value) raise_type("[bridge.array] elements of an array cannot be deleted.");
    NodeRef n = NodeRef::borrow(node_of(self));
    Selection s = select(n.get(), key);
    Operand operand;
    if (!to_operand(value, &operand)) {
      if (!PyList_Check(value) && !PyTuple_Check(value))
        raise_type(
            message("bridge.array", "the assigned value is neither an array nor a number.", Py_TYPE(value)->tp_name));
      operand.node = from_python(value, nullptr);
    }
    NodeRef source =
        operand.is_weak() ? make_constant(n->dtype, encode(operand.weak, n->dtype, "bridge.array")) : operand.node;
    // Bring the value to the shape of the selected region: axes that integers took come back as extent 1.
    int64_t region[kMaxNdim];
    memcpy(region, s.count, sizeof(int64_t) * n->ndim);
    NodeRef shaped;
    if (source->ndim > s.ndim) {  // leading axes of extent 1 may be dropped, as in NumPy
      int64_t shape[kMaxNdim];
      int drop = source->ndim - s.ndim;
      for (int i = 0; i < drop; ++i)
        if (source->shape[i] != 1)
          raise_value(message("bridge.array", "the value cannot be broadcast to the selected region.",
                              describe(source.get()), shape_text(s.ndim, s.shape)));
      memcpy(shape, source->shape + drop, sizeof(int64_t) * static_cast<size_t>(s.ndim));
      source = make_reshape(source.get(), s.ndim, shape);
    }
    shaped = make_broadcast(source.get(), s.ndim, s.shape);
    if (s.reshaped) shaped = make_reshape(shaped.get(), n->ndim, region);
    operand = {};
    NodeRef result = make_slice_update(n.get(), s.start, s.step, s.count, shaped.get());
    n = {};
    update_in_place(self, std::move(result));
    return 0;
  });
}

}  // namespace bridge
