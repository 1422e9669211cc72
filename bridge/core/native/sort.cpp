// sort, argsort, partition, argpartition, searchsorted: arguments in, kernels out. The loops are in sort_rows.cpp and
// search.cpp.
#include "sort.h"

#include "arguments.h"
#include "held.h"
#include "kernel.h"
#include "search.h"
#include "sort_rows.h"

namespace bridge {
namespace {

using sorting::Answer;

struct Sort : Kernel {
  Answer answer;
  int axis;
  bool descending;
  Sort(Answer answer, int axis, bool descending) : answer(answer), axis(axis), descending(descending) {}
  const char* name() const override { return answer == Answer::values ? "sort" : "argsort"; }
  PyObject* parameters() const override {
    return Py_BuildValue("{s:i,s:O}", "axis", axis, "descending", descending ? Py_True : Py_False);
  }
  void run(KernelRun& r) const override { run_rows(r, -1); }

 protected:
  void run_rows(KernelRun& r, int64_t kth) const {
    const Node* a = r.operand(0);
    sorting::Rows rows{a->dtype, answer, descending, kth};
    for (int i = 0; i < axis; ++i) rows.outer *= a->shape[i];
    rows.length = a->shape[axis];
    for (int i = axis + 1; i < a->ndim; ++i) rows.inner *= a->shape[i];
    rows.from = r.dense(0);
    rows.to = r.output();
    r.compute(sorting::estimate_ns(rows), [&] { sorting::run(rows); });
  }
};

struct Partition : Sort {
  int64_t kth;
  Partition(Answer answer, int axis, int64_t kth) : Sort(answer, axis, false), kth(kth) {}
  const char* name() const override { return answer == Answer::values ? "partition" : "argpartition"; }
  PyObject* parameters() const override {
    return Py_BuildValue("{s:L,s:i}", "kth", static_cast<long long>(kth), "axis", axis);
  }
  void run(KernelRun& r) const override { run_rows(r, kth); }
};

// The operand flattened if axis is None, and the axis from 0.
NodeRef along_axis(PyObject* operand, PyObject* axis, int* at, const char* op) {
  NodeRef a = need_array(operand, op);
  if (is_held(a->dtype)) refuse_held(a->dtype, op);
  const bool flat = axis == Py_None;
  if (flat) a = make_reshape(a.get(), 1, &a->size);
  *at = normalize_axis(flat ? 0 : axis ? need_int(axis, op, "axis") : -1, a->ndim, op);
  return a;
}

DType answer_dtype(Answer answer, const Node* a, int axis) {
  if (answer == Answer::values) return a->dtype;
  return sorting::wide_places(a->shape[axis]) ? DType::int64 : DType::int32;
}

PyObject* sorted(Answer answer, const char* op, Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "axis", "descending", "stable", "stream"};
  auto p = parse(op, kNames, 1, 2, args, n, names);
  int axis;
  NodeRef a = along_axis(p.values[0], p.values[1], &axis, op);
  const bool descending = p[2] && truth(p[2]);  // `stable` asks for no more than what there always is
  return wrap(finish(make_kernel(std::make_unique<Sort>(answer, axis, descending), answer_dtype(answer, a.get(), axis),
                                 a->ndim, a->shape, {a.get()})));
}

PyObject* partitioned(Answer answer, const char* op, Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "kth", "axis", "stream"};
  auto p = parse(op, kNames, 2, 3, args, n, names);
  int axis;
  NodeRef a = along_axis(p.values[0], p.values[2], &axis, op);
  const int64_t given = need_int(p.values[1], op, "kth"), length = a->shape[axis];
  const int64_t kth = given < 0 ? given + length : given;
  if (kth < 0 || kth >= length)
    raise_value(
        message(std::string("bridge.") + op,
                "kth is out of bounds for axis " + std::to_string(axis) + " of extent " + std::to_string(length) + ".",
                "kth=" + std::to_string(given) + ", " + describe(a.get())));
  return wrap(finish(make_kernel(std::make_unique<Partition>(answer, axis, kth), answer_dtype(answer, a.get(), axis),
                                 a->ndim, a->shape, {a.get()})));
}

struct SearchSorted : Kernel {
  bool right;
  explicit SearchSorted(bool right) : right(right) {}
  const char* name() const override { return "searchsorted"; }
  PyObject* parameters() const override { return Py_BuildValue("{s:s}", "side", right ? "right" : "left"); }
  void run(KernelRun& r) const override {
    const Node *sequence = r.operand(0), *values = r.operand(1);
    const sorting::Search search{sequence->dtype, right,      sequence->size, r.dense(0),
                                 values->size,    r.dense(1), r.output()};
    r.compute(sorting::estimate_ns(search), [&] { sorting::run(search); });
  }
};

bool is_right(PyObject* side) {
  if (!side) return false;
  if (PyUnicode_Check(side)) {
    if (PyUnicode_CompareWithASCIIString(side, "right") == 0) return true;
    if (PyUnicode_CompareWithASCIIString(side, "left") == 0) return false;
  }
  Ref text = Ref::check(PyObject_Repr(side));
  raise_value(
      message("bridge.searchsorted", "there is no such side.", PyUnicode_AsUTF8(text.get()), "'left' or 'right'"));
}

// The elements of the sequence in the order that `sorter` says.
NodeRef taken(NodeRef sequence, PyObject* sorter) {
  Ref take = Ref::check(PyImport_ImportModule("bridge.core.ops.take")), a = Ref::check(wrap(std::move(sequence)));
  Ref result = Ref::check(PyObject_CallMethod(take.get(), "take", "OO", a.get(), sorter));
  return NodeRef::borrow(node_of(result.get()));
}

// Both operands in their common dtype: a number takes that of the sequence where it can.
DType common_dtype(const NodeRef& sequence, const Operand& values) {
  return values.is_weak() ? promote_weak(sequence->dtype, values.weak) : promote(sequence->dtype, values.node->dtype);
}

}  // namespace

PyObject* call_sort(Args args, Py_ssize_t n, PyObject* names) { return sorted(Answer::values, "sort", args, n, names); }
PyObject* call_argsort(Args args, Py_ssize_t n, PyObject* names) {
  return sorted(Answer::places, "argsort", args, n, names);
}
PyObject* call_partition(Args args, Py_ssize_t n, PyObject* names) {
  return partitioned(Answer::values, "partition", args, n, names);
}
PyObject* call_argpartition(Args args, Py_ssize_t n, PyObject* names) {
  return partitioned(Answer::places, "argpartition", args, n, names);
}

PyObject* call_searchsorted(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"sorted_sequence", "values", "side", "sorter", "stream"};
  auto p = parse("searchsorted", kNames, 2, 3, args, n, names);
  NodeRef sequence = need_array(p.values[0], "searchsorted");
  if (p[3]) sequence = taken(std::move(sequence), p[3]);
  Operand values = need_operand(p.values[1], "searchsorted");
  if (is_held(sequence->dtype)) refuse_held(sequence->dtype, "searchsorted");
  if (!values.is_weak() && is_held(values.node->dtype)) refuse_held(values.node->dtype, "searchsorted");
  if (sequence->ndim != 1)
    raise_value(message("bridge.searchsorted", "the sorted sequence must have one axis.", describe(sequence.get())));
  const bool right = is_right(p[2]);
  const DType t = common_dtype(sequence, values);
  if (values.is_weak()) values.node = make_constant(t, encode(values.weak, t, "searchsorted"));
  NodeRef a = make_cast(sequence.get(), t), v = make_cast(values.node.get(), t);
  return wrap(finish(make_kernel(std::make_unique<SearchSorted>(right),
                                 sorting::wide_places(a->size) ? DType::int64 : DType::int32, v->ndim, v->shape,
                                 {a.get(), v.get()})));
}

}  // namespace bridge
