// Matrix products whose operands are chosen by indices: matrices of a batch, or segments of the contracted axis. What is
// chosen is multiplied where it is; nothing is gathered.
#include "gather_mm.h"

#include <algorithm>
#include <string>

#include "arguments.h"
#include "held.h"
#include "kernel.h"
#include "matmul.h"

namespace bridge {
namespace {

// Batches of matrices: element offsets of the matrices by their flat index.
struct Batch {
  const Node* a;
  int axes() const { return a->ndim - 2; }
  int64_t count() const {
    int64_t n = 1;
    for (int i = 0; i < axes(); ++i) n *= a->shape[i];
    return n;
  }
  Matrix at(int64_t index) const {
    int64_t offset = 0;
    for (int i = axes(); i-- > 0; index /= a->shape[i]) offset += index % a->shape[i] * a->strides[i];
    return {a->data + offset * itemsize(a->dtype), a->strides[axes()], a->strides[axes() + 1]};
  }
};

std::string pair_text(const Node* a, const Node* b) { return describe(a) + " @ " + describe(b); }

struct GatherMM : Kernel {
  const char* name() const override { return "matmul_gathered"; }
  PyObject* parameters() const override { return PyDict_New(); }

  void run(KernelRun& r) const override {
    const Batch a{r.operand(0)}, b{r.operand(1)};
    const auto* left = reinterpret_cast<const int64_t*>(r.dense(2));
    const auto* right = reinterpret_cast<const int64_t*>(r.dense(3));
    unsigned char* out = r.output();
    const Node* y = r.node();
    const int64_t m = y->shape[y->ndim - 2], n = y->shape[y->ndim - 1], k = a.a->shape[a.a->ndim - 1];
    const int64_t count = r.operand(2)->size;
    check(left, count, a);
    check(right, count, b);
    const double work = static_cast<double>(count) * static_cast<double>(m * n) * static_cast<double>(k);
    r.compute(0.05 * work, [&] {
      matmul_batch(y->dtype, count, m, n, k, out, [&](int64_t i, Matrix* first, Matrix* second) {
        *first = a.at(wrapped(left[i], a.count()));
        *second = b.at(wrapped(right[i], b.count()));
      });
    });
  }

 private:
  static int64_t wrapped(int64_t index, int64_t count) { return index < 0 ? index + count : index; }
  static void check(const int64_t* indices, int64_t n, const Batch& batch) {
    const int64_t count = batch.count();
    for (int64_t i = 0; i < n; ++i)
      if (indices[i] < -count || indices[i] >= count)
        raise_index(message("bridge.gather_mm", "an index is out of bounds.", std::to_string(indices[i]),
                            "an index of one of the " + std::to_string(count) + " matrices of " + describe(batch.a)));
  }
};

struct SegmentedMM : Kernel {
  const char* name() const override { return "segmented_mm"; }
  PyObject* parameters() const override { return PyDict_New(); }

  void run(KernelRun& r) const override {
    const Node *a = r.operand(0), *b = r.operand(1), *y = r.node();
    const auto* segments = reinterpret_cast<const int64_t*>(r.dense(2));
    unsigned char* out = r.output();
    const int64_t m = a->shape[0], n = b->shape[1], k = a->shape[1], item = itemsize(y->dtype);
    const int64_t count = r.operand(2)->size / 2;
    double work = 0;
    for (int64_t i = 0; i < count; ++i) work += static_cast<double>(std::clamp<int64_t>(segments[2 * i + 1], 0, k));
    r.compute(0.05 * work * static_cast<double>(m) * static_cast<double>(n), [&] {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t begin = std::clamp<int64_t>(segments[2 * i], 0, k);
        const int64_t end = std::clamp<int64_t>(segments[2 * i + 1], begin, k);
        matmul(y->dtype, m, n, end - begin, {a->data + begin * a->strides[1] * item, a->strides[0], a->strides[1]},
               {b->data + begin * b->strides[0] * item, b->strides[0], b->strides[1]}, out + i * m * n * item);
      }
    });
  }
};

DType check_dtypes(const Node* a, const Node* b, const char* op) {
  check_computed(a->dtype, op);
  check_computed(b->dtype, op);
  return promote(a->dtype, b->dtype);
}

NodeRef need_indices(PyObject* o, const char* op, const char* what) {
  NodeRef indices = need_array(o, op);
  const Kind k = kind(indices->dtype);
  if (k != Kind::signed_integer && k != Kind::unsigned_integer)
    raise_dtype(
        message(std::string("bridge.") + op, std::string(what) + " must be integers.", describe(indices.get())));
  return make_cast(indices.get(), DType::int64);
}

}  // namespace

// matmul_gathered(a, b, lhs_indices, rhs_indices): indices of one shape. gather_mm in ops/products.py sees to the rest.
PyObject* call_matmul_gathered(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "b", "lhs_indices", "rhs_indices", "stream"};
  static constexpr const char* kOp = "gather_mm";
  auto p = parse(kOp, kNames, 4, 4, args, n, names);
  NodeRef a = need_array(p.values[0], kOp), b = need_array(p.values[1], kOp);
  NodeRef left = need_indices(p.values[2], kOp, "lhs_indices"), right = need_indices(p.values[3], kOp, "rhs_indices");
  const DType t = check_dtypes(a.get(), b.get(), kOp);
  if (a->ndim < 2 || b->ndim < 2 || a->shape[a->ndim - 1] != b->shape[b->ndim - 2])
    raise_value(message("bridge.gather_mm", "the contracted extents differ.", pair_text(a.get(), b.get()),
                        "last axis of the first == second-last axis of the second"));
  if (left->ndim != right->ndim || !std::equal(left->shape, left->shape + left->ndim, right->shape))
    raise_value(message("bridge.gather_mm", "the indices differ in shape.",
                        describe(left.get()) + " and " + describe(right.get())));
  int64_t shape[kMaxNdim];
  if (left->ndim + 2 > kMaxNdim) raise_value("[bridge.gather_mm] too many dimensions.");
  std::copy(left->shape, left->shape + left->ndim, shape);
  shape[left->ndim] = a->shape[a->ndim - 2];
  shape[left->ndim + 1] = b->shape[b->ndim - 1];
  NodeRef first = make_cast(a.get(), t), second = make_cast(b.get(), t);
  return wrap(finish(make_kernel(std::make_unique<GatherMM>(), t, left->ndim + 2, shape,
                                 {first.get(), second.get(), left.get(), right.get()})));
}

PyObject* call_segmented_mm(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "b", "segments", "stream"};
  static constexpr const char* kOp = "segmented_mm";
  auto p = parse(kOp, kNames, 3, 3, args, n, names);
  NodeRef a = need_array(p.values[0], kOp), b = need_array(p.values[1], kOp);
  NodeRef segments = need_indices(p.values[2], kOp, "segments");
  const DType t = check_dtypes(a.get(), b.get(), kOp);
  if (a->ndim != 2 || b->ndim != 2 || a->shape[1] != b->shape[0])
    raise_value(message("bridge.segmented_mm", "two matrices that can be multiplied are wanted.",
                        pair_text(a.get(), b.get()), "(M, K) @ (K, N)"));
  if (segments->ndim == 0 || segments->shape[segments->ndim - 1] != 2)
    raise_value(message("bridge.segmented_mm", "segments are pairs: their first step and the one behind their last.",
                        describe(segments.get()), "segments (..., 2)"));
  int64_t shape[kMaxNdim];
  const int axes = segments->ndim - 1;
  if (axes + 2 > kMaxNdim) raise_value("[bridge.segmented_mm] too many dimensions.");
  std::copy(segments->shape, segments->shape + axes, shape);
  shape[axes] = a->shape[0];
  shape[axes + 1] = b->shape[1];
  NodeRef first = make_cast(a.get(), t), second = make_cast(b.get(), t);
  return wrap(finish(
      make_kernel(std::make_unique<SegmentedMM>(), t, axes + 2, shape, {first.get(), second.get(), segments.get()})));
}

}  // namespace bridge
