// Keys of a[key]: what they select. index.cpp has the basic ones, index_arrays.cpp those with arrays and masks.
#pragma once
#include "array.h"
#include "gather.h"

namespace bridge {

// What a key selects: a slice of every axis, then a shape without the axes that integers took.
struct Selection {
  int64_t start[kMaxNdim], step[kMaxNdim], count[kMaxNdim];  // one entry an axis of the array
  int64_t shape[kMaxNdim];                                   // of the result
  int ndim = 0;
  bool whole = true;  // the slice is the array itself
  bool reshaped = false;

  void take_integer(PyObject* key, int axis, int64_t extent);
  void take_slice(PyObject* key, int axis, int64_t extent);
  void take_whole(int axis, int64_t extent);
  void take_indexed(int axis, int64_t extent);  // whole, and none of the result's axes
  void add_axis();
};

// The items of a key: of a tuple, or the key itself.
struct KeyItems {
  explicit KeyItems(PyObject*& key);
  PyObject* const* items;
  Py_ssize_t n;
};

bool is_integer_index(PyObject* key);
NodeRef read_region(Node*, const Selection&);
NodeRef update_region(Combine, Node*, const Selection&, Node* value);
[[noreturn]] void too_many_indices(const Node*, int taken);

// False: the key has arrays, lists or bools in it.
bool select_basic(const Node*, PyObject* key, Selection&);

// The value of a[key] = value as an array. A number has a's dtype, an array keeps its own.
NodeRef need_value(const Node* a, PyObject* value);
// Brings a value to a shape: broadcast as in NumPy, where leading axes of extent 1 may be more than the shape has.
NodeRef spread_value(Node* value, int ndim, const int64_t* shape);

// Keys with arrays of integers, lists, bools and masks, by NumPy's rules.
NodeRef select_arrays(Node* a, PyObject* key);
// The array with the selected elements set to the value or combined with it.
NodeRef update_arrays(Combine, Node* a, PyObject* key, Node* value);

// a.at[key].add(value): the result of an update, a itself stays as it is. method(array, key, value, name).
PyObject* updated_at(PyObject* module, PyObject* const* args, Py_ssize_t n);

}  // namespace bridge
