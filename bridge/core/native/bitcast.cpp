// Ops whose result has the bytes of their first operand: as another dtype, as they lie or in a row-major copy, or once
// others are computed. Of an array that has bytes, a view exists at once, as in views.cpp.
#include "bitcast.h"

#include <vector>

#include "kernel.h"

namespace bridge {
namespace {

// An update of an open array would show in what shares its bytes, unless it is a window on memory of others.
bool may_share(const Node* a) { return !a->storage->open() || a->is(kWindow); }

// The layout of `a` seen as elements of t; false where the bytes of an element do not lie together or are not aligned.
bool seen_as(const Node* a, DType t, int64_t* strides) {
  const int64_t from = itemsize(a->dtype), to = itemsize(t);
  for (int i = 0; i < a->ndim; ++i) strides[i] = a->strides[i];
  const bool truths = t == DType::bool_ && a->dtype != t;  // their bytes are 0 or 1, and others become 1
  if (a->size == 0 || truths || !may_share(a)) return false;
  if (from == to) return reinterpret_cast<uintptr_t>(a->data) % static_cast<uintptr_t>(to) == 0;
  const int last = a->ndim - 1;
  if (a->strides[last] != 1 && a->shape[last] != 1) return false;
  if (reinterpret_cast<uintptr_t>(a->data) % static_cast<uintptr_t>(to) != 0) return false;
  for (int i = 0; i < last; ++i) {
    if (a->strides[i] * from % to != 0) return false;
    strides[i] = a->strides[i] * from / to;
  }
  strides[last] = 1;
  return true;
}

struct View final : Kernel {
  explicit View(DType dtype) : dtype(dtype) {}
  DType dtype;
  const char* name() const override { return "view"; }
  PyObject* parameters() const override { return Py_BuildValue("{s:O}", "dtype", dtype_object(dtype)); }
  void run(KernelRun& r) const override {
    int64_t strides[kMaxNdim];
    const Node* a = r.operand(0);
    if (seen_as(a, dtype, strides)) return r.share(0, a->data, strides);
    unsigned char* bytes = r.output();
    copy_to(a, bytes, nullptr);
    if (dtype == DType::bool_ && a->dtype != dtype)
      for (int64_t i = 0; i < r.node()->size; ++i) bytes[i] = bytes[i] != 0;
  }
};

NodeRef make_view(Node* a, DType t) {
  const int64_t from = itemsize(a->dtype), to = itemsize(t);
  int64_t shape[kMaxNdim], strides[kMaxNdim];
  memcpy(shape, a->shape, sizeof(int64_t) * a->ndim);
  if (from != to) {
    if (a->ndim == 0)
      raise_value(message("bridge.view", "a 0-d array can only be seen in a dtype of the same size.", describe(a),
                          info(t).name));
    int64_t& last = shape[a->ndim - 1];
    if (last * from % to != 0)
      raise_value(message("bridge.view", "the bytes of the last axis are no whole number of elements.", describe(a),
                          info(t).name));
    last = last * from / to;
  }
  if (a->op == Op::constant && !a->evaluated() && from == to && t != DType::bool_)
    return make_constant(t, a->scalar, a->ndim, shape);
  if (a->evaluated() && !is_traced(a) && seen_as(a, t, strides)) {
    NodeRef n(new_node(Op::data, t, a->ndim, 0));
    set_shape(n.get(), shape);
    retain(a->storage);
    attach_storage(n.get(), a->storage, a->data, strides);
    n->flags |= a->flags & (kWindow | kReadOnly);
    return n;
  }
  return finish(make_kernel(std::make_unique<View>(t), t, a->ndim, shape, {a}));
}

struct Contiguous final : Kernel {
  explicit Contiguous(bool columns) : columns(columns) {}
  bool columns;  // column-major will do as well
  const char* name() const override { return "contiguous"; }
  PyObject* parameters() const override {
    return Py_BuildValue("{s:O}", "allow_col_major", columns ? Py_True : Py_False);
  }
  void run(KernelRun& r) const override {
    const Node* a = r.operand(0);
    const bool fits =
        is_row_major(a->ndim, a->shape, a->strides) || (columns && is_column_major(a->ndim, a->shape, a->strides));
    if (fits && may_share(a)) return r.share(0, a->data, a->strides);
    copy_to(a, r.output(), nullptr);
  }
};

struct After final : Kernel {
  const char* name() const override { return "after"; }
  PyObject* parameters() const override { return PyDict_New(); }
  void run(KernelRun& r) const override {
    const Node* a = r.operand(0);
    if (may_share(a)) return r.share(0, a->data, a->strides);
    copy_to(a, r.output(), nullptr);
  }
};

}  // namespace

PyObject* call_view(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "dtype", "stream"};
  auto p = parse("view", kNames, 2, 3, args, n, names);
  return wrap(make_view(need_array(p.values[0], "view").get(), to_dtype(p.values[1])));
}

PyObject* call_contiguous(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "allow_col_major", "stream"};
  auto p = parse("contiguous", kNames, 1, 2, args, n, names);
  NodeRef a = need_array(p.values[0], "contiguous");
  return wrap(
      finish(make_kernel(std::make_unique<Contiguous>(p[1] && truth(p[1])), a->dtype, a->ndim, a->shape, {a.get()})));
}

PyObject* call_after(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"arrays", "stream"};
  auto p = parse("after", kNames, 1, 1, args, n, names);
  std::vector<NodeRef> arrays = need_arrays(p.values[0], "after");
  std::vector<Node*> operands;
  for (const NodeRef& a : arrays) operands.push_back(a.get());
  const Node* a = operands[0];
  return wrap(finish(make_kernel(std::make_unique<After>(), a->dtype, a->ndim, a->shape, operands.data(),
                                 static_cast<int>(operands.size()))));
}

}  // namespace bridge
