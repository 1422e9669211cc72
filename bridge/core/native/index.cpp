// a[key] and a[key] = value. Basic keys (integers, slices, None, Ellipsis) are views and updates of regions; keys with
// arrays go on to index_arrays.cpp.
#include "index.h"

#include <string>

#include "eval.h"

namespace bridge {

KeyItems::KeyItems(PyObject*& key) : items(&key), n(1) {
  if (!PyTuple_Check(key)) return;
  items = reinterpret_cast<PyTupleObject*>(key)->ob_item;
  n = PyTuple_GET_SIZE(key);
}

bool is_integer_index(PyObject* key) {
  if (PyLong_CheckExact(key)) return true;
  if (PyBool_Check(key)) return false;
  if (is_array(key)) {
    const Node* n = node_of(key);
    bool known = n->evaluated() || n->op == Op::constant;  // others stay lazy
    return known && n->ndim == 0 &&
           (kind(n->dtype) == Kind::signed_integer || kind(n->dtype) == Kind::unsigned_integer);
  }
  return PyIndex_Check(key) && !PySequence_Check(key);
}

void Selection::take_integer(PyObject* key, int axis, int64_t extent) {
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
  start[axis] = i;
  step[axis] = 1;
  count[axis] = 1;
  reshaped = true;
  whole = whole && extent == 1;
}

void Selection::take_slice(PyObject* key, int axis, int64_t extent) {
  Py_ssize_t first, stop, by;
  if (PySlice_Unpack(key, &first, &stop, &by) < 0) throw PythonError{};
  Py_ssize_t n = PySlice_AdjustIndices(static_cast<Py_ssize_t>(extent), &first, &stop, by);
  start[axis] = n ? first : 0;
  step[axis] = by;
  count[axis] = n;
  if (n != extent || (by != 1 && extent > 1)) whole = false;
  shape[ndim++] = n;
}

void Selection::take_indexed(int axis, int64_t extent) {
  start[axis] = 0;
  step[axis] = 1;
  count[axis] = extent;
}

void Selection::take_whole(int axis, int64_t extent) {
  take_indexed(axis, extent);
  shape[ndim++] = extent;
}

void Selection::add_axis() {
  shape[ndim++] = 1;
  reshaped = true;
}

void too_many_indices(const Node* n, int taken) {
  raise_index(message("bridge.array",
                      "too many indices: the array is " + std::to_string(n->ndim) + "-dimensional, but " +
                          std::to_string(taken) + " were indexed.",
                      describe(n)));
}

bool select_basic(const Node* n, PyObject* key, Selection& s) {
  KeyItems key_items(key);
  PyObject* const* items = key_items.items;
  int taken = 0, added = 0;
  bool ellipsis = false;
  for (Py_ssize_t i = 0; i < key_items.n; ++i) {
    if (items[i] == Py_None) {
      ++added;
    } else if (items[i] == Py_Ellipsis) {
      if (ellipsis) raise_index("[bridge.array] an index can only have a single ellipsis ('...').");
      ellipsis = true;
    } else if (PySlice_Check(items[i]) || is_integer_index(items[i])) {
      ++taken;
    } else {
      return false;
    }
  }
  if (taken > n->ndim) too_many_indices(n, taken);
  if (n->ndim + added > kMaxNdim) raise_value("[bridge.array] the index would make too many dimensions.");
  int axis = 0;
  auto take_rest = [&](int count) {
    for (int k = 0; k < count; ++k, ++axis) s.take_whole(axis, n->shape[axis]);
  };
  for (Py_ssize_t i = 0; i < key_items.n; ++i) {
    if (items[i] == Py_None) {
      s.add_axis();
    } else if (items[i] == Py_Ellipsis) {
      take_rest(n->ndim - taken);
    } else if (PySlice_Check(items[i])) {
      s.take_slice(items[i], axis, n->shape[axis]);
      ++axis;
    } else {
      s.take_integer(items[i], axis, n->shape[axis]);
      ++axis;
    }
  }
  take_rest(n->ndim - axis);
  return true;
}

NodeRef need_value(const Node* a, PyObject* value) {
  Operand operand;
  if (!to_operand(value, &operand)) {
    if (!PyList_Check(value) && !PyTuple_Check(value))
      raise_type(
          message("bridge.array", "the assigned value is neither an array nor a number.", Py_TYPE(value)->tp_name));
    // Lists keep the precision that the array has.
    bool inexact = kind(a->dtype) == Kind::floating || kind(a->dtype) == Kind::complex;
    return from_python(value, inexact ? dtype_object(a->dtype) : nullptr);
  }
  return operand.is_weak() ? make_constant(a->dtype, encode(operand.weak, a->dtype, "bridge.array")) : operand.node;
}

NodeRef spread_value(Node* value, int ndim, const int64_t* shape) {
  NodeRef source = NodeRef::borrow(value);
  int drop = value->ndim - ndim;
  bool fits = true;
  for (int i = 0; i < value->ndim; ++i)
    fits = fits && (value->shape[i] == 1 || (i >= drop && value->shape[i] == shape[i - drop]));
  if (!fits)
    raise_value(message("bridge.array", "the value cannot be broadcast to the selected region.", describe(value),
                        shape_text(ndim, shape)));
  if (drop > 0) source = make_reshape(value, ndim, value->shape + drop);
  return make_broadcast(source.get(), ndim, shape);
}

NodeRef read_region(Node* n, const Selection& s) {
  NodeRef part = s.whole && s.reshaped ? NodeRef::borrow(n) : make_slice(n, s.start, s.step, s.count);
  return s.reshaped ? make_reshape(part.get(), s.ndim, s.shape) : part;
}

NodeRef update_region(Combine combine, Node* n, const Selection& s, Node* value) {
  constexpr Stage kStages[] = {Stage::copy, Stage::add, Stage::multiply, Stage::divide, Stage::maximum, Stage::minimum};
  NodeRef converted = make_cast(value, n->dtype);
  NodeRef shaped = spread_value(converted.get(), s.ndim, s.shape);
  if (combine != Combine::set) {
    Operand operands[2] = {{read_region(n, s)}, {shaped}};
    shaped = make_elementwise(kStages[static_cast<int>(combine)], operands, 2);
  }
  // Axes that integers took come back as extent 1.
  if (s.reshaped) shaped = make_reshape(shaped.get(), n->ndim, s.count);
  return make_slice_update(n, s.start, s.step, s.count, shaped.get());
}

namespace {

Combine find_combine(PyObject* name) {
  for (int c = 1; c <= static_cast<int>(Combine::minimum); ++c)
    if (!PyUnicode_CompareWithASCIIString(name, scatter_name(static_cast<Combine>(c)) + strlen("scatter_")))
      return static_cast<Combine>(c);
  raise_value("[bridge.array.at] there is no update of that name.");
}

NodeRef negated(const Node* a, Node* value) {
  if (a->dtype == DType::bool_)
    raise_dtype(message("bridge.array.at", "bool is not a dtype that it subtracts.", describe(a)));
  Operand operand{make_cast(value, a->dtype)};
  return make_elementwise(Stage::negative, &operand, 1);
}

}  // namespace

PyObject* array_subscript(PyObject* self, PyObject* key) {
  return guard(static_cast<PyObject*>(nullptr), [&] {
    NodeRef n = NodeRef::borrow(node_of(self));
    Selection s;
    return wrap(select_basic(n.get(), key, s) ? read_region(n.get(), s) : select_arrays(n.get(), key));
  });
}

int array_assign(PyObject* self, PyObject* key, PyObject* value) {
  return guard(-1, [&] {
    if (!value) raise_type("[bridge.array] elements of an array cannot be deleted.");
    NodeRef n = NodeRef::borrow(node_of(self));
    Selection s;
    NodeRef result;
    if (select_basic(n.get(), key, s))
      result = update_region(Combine::set, n.get(), s, need_value(n.get(), value).get());
    else
      result = update_arrays(Combine::set, n.get(), key, need_value(n.get(), value).get());
    n = {};
    update_in_place(self, std::move(result));
    return 0;
  });
}

PyObject* updated_at(PyObject*, PyObject* const* args, Py_ssize_t n_args) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    if (n_args != 4 || !is_array(args[0]) || !PyUnicode_Check(args[3]))
      raise_type("updated_at() takes an array, a key, a value and a name");
    NodeRef n = NodeRef::borrow(node_of(args[0])), value = need_value(n.get(), args[2]);
    bool subtracts = !PyUnicode_CompareWithASCIIString(args[3], "subtract");
    if (subtracts) value = negated(n.get(), value.get());
    Combine combine = subtracts ? Combine::add : find_combine(args[3]);
    Selection s;
    if (!select_basic(n.get(), args[1], s)) return wrap(update_arrays(combine, n.get(), args[1], value.get()));
    return wrap(update_region(combine, n.get(), s, value.get()));
  });
}

}  // namespace bridge
