// conv_general: arguments, shapes, and the node that holds them.
#include <cstring>
#include <string>

#include "arguments.h"
#include "conv.h"
#include "conv_op.h"
#include "held.h"
#include "kernel.h"

namespace bridge {
namespace {

constexpr const char* kName = "conv_general";
constexpr int kSpace = 3;

struct Settings {
  int space = 0;  // axes
  int64_t stride[kSpace], low[kSpace], high[kSpace], kernel_step[kSpace], input_step[kSpace];
  int64_t groups = 1;
  bool flip = false;
};

PyObject* list_of(const int64_t* values, int n) {
  Ref list = Ref::check(PyList_New(n));
  for (int i = 0; i < n; ++i) PyList_SET_ITEM(list.get(), i, Ref::check(PyLong_FromLongLong(values[i])).release());
  return list.release();
}

struct ConvGeneral : Kernel {
  Settings s;
  explicit ConvGeneral(const Settings& settings) : s(settings) {}

  const char* name() const override { return kName; }

  PyObject* parameters() const override {
    const int n = s.space;
    return Py_BuildValue("{s:N,s:(NN),s:N,s:N,s:L,s:O}", "stride", list_of(s.stride, n), "padding", list_of(s.low, n),
                         list_of(s.high, n), "kernel_dilation", list_of(s.kernel_step, n), "input_dilation",
                         list_of(s.input_step, n), "groups", static_cast<long long>(s.groups), "flip",
                         s.flip ? Py_True : Py_False);
  }

  void run(KernelRun& r) const override {
    const Node *x = r.operand(0), *w = r.operand(1), *y = r.node();
    const int n = s.space;
    const bool side_by_side = x->shape[n + 1] == 1 || x->strides[n + 1] == 1;
    int64_t dense[kMaxNdim];
    dense_strides(x->ndim, x->shape, dense);
    const int64_t* strides = side_by_side ? x->strides : dense;
    const unsigned char *input = side_by_side ? x->data : r.dense(0), *weight = r.dense(1);
    unsigned char* out = r.output();

    Convolution c{y->dtype, x->shape[0], strides[0], x->shape[n + 1], w->shape[0], s.groups, {}, s.flip};
    double work = static_cast<double>(y->size) * static_cast<double>(w->shape[n + 1]);
    for (int i = 0; i < n; ++i) {
      c.space[kSpace - n + i] = {x->shape[i + 1], y->shape[i + 1],  w->shape[i + 1], s.stride[i],
                                 s.low[i],        s.kernel_step[i], s.input_step[i], strides[i + 1]};
      work *= static_cast<double>(w->shape[i + 1]);
    }
    r.compute(0.05 * work, [&] { convolve(c, input, weight, out); });
  }
};

std::string operands_text(const Node* x, const Node* w) { return "input " + describe(x) + ", weight " + describe(w); }

[[noreturn]] void refuse(const std::string& problem, const std::string& got, const std::string& want = "") {
  raise_value(message(std::string("bridge.") + kName, problem, got, want));
}

// One integer, or one for each axis of space.
void read_each(PyObject* o, int space, int64_t otherwise, int64_t least, int64_t* values, const char* what) {
  std::fill(values, values + space, otherwise);
  if (!o) return;
  int64_t given[kMaxNdim];
  const int n = to_shape(o, given, kName);
  if (n != space && n != 1)
    refuse(std::string(what) + " has not one entry for each axis of space.", shape_text(n, given),
           std::to_string(space) + " integers, or one for all");
  for (int i = 0; i < space; ++i) {
    values[i] = given[n == 1 ? 0 : i];
    if (values[i] < least) refuse(std::string(what) + " must be positive.", shape_text(n, given));
  }
}

bool is_pair_of_lists(PyObject* o) {
  if (!o || !(PyTuple_Check(o) || PyList_Check(o)) || PySequence_Fast_GET_SIZE(o) != 2) return false;
  return !PyIndex_Check(PySequence_Fast_GET_ITEM(o, 0));
}

void read_padding(PyObject* o, Settings& s) {
  const bool pair = is_pair_of_lists(o);
  read_each(pair ? PySequence_Fast_GET_ITEM(o, 0) : o, s.space, 0, INT64_MIN, s.low, "padding");
  read_each(pair ? PySequence_Fast_GET_ITEM(o, 1) : o, s.space, 0, INT64_MIN, s.high, "padding");
}

void check_operands(const Node* x, const Node* w, int64_t groups) {
  const std::string got = operands_text(x, w);
  const int space = x->ndim - 2;
  if (space < 1 || space > kSpace)
    refuse("only inputs with one to three axes of space are convolved.", got, "input (N, ..., C_in)");
  if (w->ndim != x->ndim)
    refuse("the weight has another number of axes than the input.", got, "weight (C_out, ..., C_in / groups)");
  if (groups < 1) refuse("groups must be positive.", std::to_string(groups));
  const int64_t in = x->shape[x->ndim - 1], out = w->shape[0];
  if (in % groups || out % groups)
    refuse("the channels of the input and of the result do not divide into the groups.",
           got + ", groups=" + std::to_string(groups));
  if (w->shape[w->ndim - 1] != in / groups)
    refuse("the channels of input and weight differ.", got + ", groups=" + std::to_string(groups),
           "a weight with " + std::to_string(in / groups) + " channels");
}

// Extent of the result along one axis of space.
int64_t extent_of(const Node* x, const Node* w, const Settings& s, int axis) {
  const __int128 in = x->shape[axis + 1], kernel = w->shape[axis + 1];
  const __int128 spread = in ? (in - 1) * s.input_step[axis] + 1 : 0,
                 span = kernel ? (kernel - 1) * s.kernel_step[axis] + 1 : 0;
  const __int128 padded = spread + s.low[axis] + s.high[axis];
  if (padded > INT64_MAX / 16 || span > INT64_MAX / 16) refuse("an extent is too large.", operands_text(x, w));
  if (padded < span || padded < 0)
    refuse("the weight is larger than the padded input on axis " + std::to_string(axis) + " of space.",
           operands_text(x, w) + ", padding " + shape_text(s.space, s.low) + " and " + shape_text(s.space, s.high));
  return static_cast<int64_t>((padded - span) / s.stride[axis] + 1);
}

}  // namespace

PyObject* call_conv_general(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"input",          "weight", "stride", "padding", "kernel_dilation",
                                       "input_dilation", "groups", "flip",   "stream"};
  auto p = parse(kName, kNames, 2, 8, args, n, names);
  NodeRef x = need_array(p.values[0], kName), w = need_array(p.values[1], kName);
  check_computed(x->dtype, kName);
  check_computed(w->dtype, kName);
  const DType t = promote(x->dtype, w->dtype);
  if (t == DType::bool_)
    raise_dtype(message(std::string("bridge.") + kName, "truth values are not convolved.",
                        operands_text(x.get(), w.get()), "numbers", "input.astype(bridge.float32)"));
  Settings s;
  s.space = x->ndim - 2;
  s.groups = p[6] ? need_int(p[6], kName, "groups") : 1;
  s.flip = p[7] && truth(p[7]);
  check_operands(x.get(), w.get(), s.groups);
  read_each(p[2], s.space, 1, 1, s.stride, "stride");
  read_padding(p[3], s);
  read_each(p[4], s.space, 1, 1, s.kernel_step, "kernel_dilation");
  read_each(p[5], s.space, 1, 1, s.input_step, "input_dilation");
  int64_t shape[kMaxNdim];
  shape[0] = x->shape[0];
  for (int i = 0; i < s.space; ++i) shape[i + 1] = extent_of(x.get(), w.get(), s, i);
  shape[s.space + 1] = w->shape[0];
  NodeRef a = make_cast(x.get(), t), b = make_cast(w.get(), t);
  return wrap(finish(make_kernel(std::make_unique<ConvGeneral>(s), t, x->ndim, shape, {a.get(), b.get()})));
}

}  // namespace bridge
