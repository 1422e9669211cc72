// cumsum, cumprod, cummax, cummin, logcumsumexp: arguments in, kernels out. The loops are in scan_rows.cpp.
#include "scan.h"

#include "arguments.h"
#include "held.h"
#include "kernel.h"
#include "scan_rows.h"

namespace bridge {
namespace {

using scanning::Scan;

constexpr const char* kNames[] = {"cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"};  // by Scan
constexpr const char* name_of(Scan scan) { return kNames[static_cast<int>(scan)]; }

struct Cumulate : Kernel {
  Scan scan;
  int axis;
  bool reverse, inclusive;
  Cumulate(Scan scan, int axis, bool reverse, bool inclusive)
      : scan(scan), axis(axis), reverse(reverse), inclusive(inclusive) {}
  const char* name() const override { return name_of(scan); }
  PyObject* parameters() const override {
    return Py_BuildValue("{s:i,s:O,s:O}", "axis", axis, "reverse", reverse ? Py_True : Py_False, "inclusive",
                         inclusive ? Py_True : Py_False);
  }
  void run(KernelRun& r) const override {
    const Node* a = r.operand(0);
    scanning::Rows rows{scan, a->dtype, reverse, inclusive};
    for (int i = 0; i < axis; ++i) rows.outer *= a->shape[i];
    rows.length = a->shape[axis];
    for (int i = axis + 1; i < a->ndim; ++i) rows.inner *= a->shape[i];
    rows.from = r.dense(0);
    rows.to = r.output();
    r.compute(scanning::estimate_ns(rows), [&] { scanning::run(rows); });
  }
};

// The dtype to accumulate in if none is asked for: bool is counted, and powers are real numbers.
DType accumulated_as(Scan scan, DType t) {
  if (scan == Scan::sum && t == DType::bool_) return DType::int32;
  const bool inexact = kind(t) == Kind::floating || kind(t) == Kind::complex;
  return scan == Scan::logsumexp && !inexact ? DType::float32 : t;
}

PyObject* cumulate(Scan scan, PyObject* operand, PyObject* axis, PyObject* reverse, PyObject* inclusive,
                   PyObject* dtype) {
  const char* op = name_of(scan);
  NodeRef a = need_array(operand, op);
  const DType t = dtype ? to_dtype(dtype) : accumulated_as(scan, a->dtype);
  check_computed(a->dtype, op);
  check_computed(t, op);
  if (a->dtype != t) a = make_cast(a.get(), t);
  if (!axis) a = make_reshape(a.get(), 1, &a->size);
  const int at = normalize_axis(axis ? need_int(axis, op, "axis") : 0, a->ndim, op);
  return wrap(finish(
      make_kernel(std::make_unique<Cumulate>(scan, at, reverse && truth(reverse), !inclusive || truth(inclusive)),
                  a->dtype, a->ndim, a->shape, {a.get()})));
}

PyObject* cumulate_as(Scan scan, Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "axis", "reverse", "inclusive", "dtype", "stream"};
  auto p = parse(name_of(scan), kNames, 1, 2, args, n, names);
  return cumulate(scan, p.values[0], p[1], p[2], p[3], p[4]);
}

PyObject* cumulate_same(Scan scan, Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "axis", "reverse", "inclusive", "stream"};
  auto p = parse(name_of(scan), kNames, 1, 2, args, n, names);
  return cumulate(scan, p.values[0], p[1], p[2], p[3], nullptr);
}

}  // namespace

PyObject* call_cumsum(Args args, Py_ssize_t n, PyObject* names) { return cumulate_as(Scan::sum, args, n, names); }
PyObject* call_cumprod(Args args, Py_ssize_t n, PyObject* names) { return cumulate_as(Scan::prod, args, n, names); }
PyObject* call_cummax(Args args, Py_ssize_t n, PyObject* names) { return cumulate_same(Scan::max, args, n, names); }
PyObject* call_cummin(Args args, Py_ssize_t n, PyObject* names) { return cumulate_same(Scan::min, args, n, names); }
PyObject* call_logcumsumexp(Args args, Py_ssize_t n, PyObject* names) {
  return cumulate_same(Scan::logsumexp, args, n, names);
}

}  // namespace bridge
