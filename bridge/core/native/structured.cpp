// The native callables of views and structured ops: arguments in, a node out.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "arguments.h"
#include "bitcast.h"
#include "conv_op.h"
#include "eval.h"
#include "gather_mm.h"
#include "pad.h"
#include "primitive.h"
#include "random.h"
#include "scan.h"
#include "sort.h"
#include "stream.h"
#include "take.h"
#include "trace.h"

namespace bridge {
namespace {

NodeRef reshape_to(Node* a, int ndim, int64_t* shape) {
  int inferred = -1;
  int64_t known = 1;
  bool fits = true;
  for (int i = 0; i < ndim; ++i) {
    if (shape[i] == -1 && inferred < 0)
      inferred = i;
    else if (shape[i] < 0 || __builtin_mul_overflow(known, shape[i], &known))
      fits = false;
  }
  if (fits && inferred >= 0) {
    fits = known > 0 && a->size % known == 0;
    if (fits) shape[inferred] = a->size / known;
  } else if (fits) {
    fits = known == a->size;
  }
  if (!fits)
    raise_value(message("bridge.reshape",
                        "an array of " + std::to_string(a->size) + " elements does not have that shape.", describe(a),
                        shape_text(ndim, shape)));
  return make_reshape(a, ndim, shape);
}

// The shape from positional arguments: (2, 3) or 2, 3.
int shape_arguments(Args args, Py_ssize_t n, int64_t* shape, const char* op) {
  if (n == 1) return to_shape(args[0], shape, op);
  if (n > kMaxNdim) raise_value(std::string("[bridge.") + op + "] too many dimensions.");
  for (Py_ssize_t i = 0; i < n; ++i) shape[i] = need_int(args[i], op, "an extent");
  return static_cast<int>(n);
}

NodeRef transpose_by(Node* a, int count, const int64_t* axes) {
  if (count != a->ndim)
    raise_value(message("bridge.transpose", "the axes are not a permutation of the array's.", shape_text(count, axes),
                        "each of 0 to " + std::to_string(a->ndim - 1) + " once"));
  int permutation[kMaxNdim];
  uint32_t seen = 0;
  for (int i = 0; i < count; ++i) {
    permutation[i] = normalize_axis(axes[i], a->ndim, "transpose");
    if (seen >> permutation[i] & 1)
      raise_value(message("bridge.transpose", "an axis is named twice.", shape_text(count, axes)));
    seen |= 1u << permutation[i];
  }
  return make_transpose(a, permutation);
}

NodeRef reversed(Node* a) {
  int64_t axes[kMaxNdim];
  for (int i = 0; i < a->ndim; ++i) axes[i] = a->ndim - 1 - i;
  return transpose_by(a, a->ndim, axes);
}

PyObject* call_reshape(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "shape", "copy", "stream"};
  auto p = parse("reshape", kNames, 2, 2, args, n, names);
  NodeRef a = need_array(p[0], "reshape");
  int64_t shape[kMaxNdim];
  int ndim = to_shape(p.values[1], shape, "reshape");
  if (!p[2]) return wrap(reshape_to(a.get(), ndim, shape));
  if (truth(p[2])) return wrap(make_copy(reshape_to(a.get(), ndim, shape).get()));
  evaluate(a.get());  // whether its bytes can be shared depends on where they lie
  NodeRef result = reshape_to(a.get(), ndim, shape);
  int64_t strides[kMaxNdim];
  if (!reshape_strides(a->ndim, a->shape, a->strides, ndim, shape, strides))
    raise_copy_required(message("bridge.reshape", "the elements do not lie on strides in the new shape.",
                                describe(a.get()) + ", copy=False", "", "copy=None"));
  return wrap(std::move(result));
}

PyObject* call_transpose(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "axes", "stream"};
  auto p = parse("transpose", kNames, 1, 2, args, n, names);
  NodeRef a = need_array(p[0], "transpose");
  if (!p[1]) return wrap(reversed(a.get()));
  int64_t axes[kMaxNdim];
  int count = to_shape(p[1], axes, "transpose");
  return wrap(transpose_by(a.get(), count, axes));
}

PyObject* call_flatten(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "start_axis", "end_axis", "stream"};
  auto p = parse("flatten", kNames, 1, 3, args, n, names);
  NodeRef a = need_array(p[0], "flatten");
  int64_t shape[kMaxNdim];
  if (a->ndim == 0) {
    shape[0] = 1;
    return wrap(make_reshape(a.get(), 1, shape));
  }
  int start = normalize_axis(p[1] ? need_int(p[1], "flatten", "start_axis") : 0, a->ndim, "flatten");
  int end = normalize_axis(p[2] ? need_int(p[2], "flatten", "end_axis") : -1, a->ndim, "flatten");
  if (start > end) raise_value("[bridge.flatten] start_axis is behind end_axis.");
  int ndim = 0;
  for (int i = 0; i < a->ndim; ++i) {
    if (i > start && i <= end)
      shape[ndim - 1] *= a->shape[i];
    else
      shape[ndim++] = a->shape[i];
  }
  return wrap(make_reshape(a.get(), ndim, shape));
}

PyObject* call_swapaxes(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "axis1", "axis2", "stream"};
  auto p = parse("swapaxes", kNames, 3, 3, args, n, names);
  NodeRef a = need_array(p[0], "swapaxes");
  int64_t axes[kMaxNdim];
  for (int i = 0; i < a->ndim; ++i) axes[i] = i;
  int first = normalize_axis(need_int(p[1], "swapaxes", "axis1"), a->ndim, "swapaxes");
  int second = normalize_axis(need_int(p[2], "swapaxes", "axis2"), a->ndim, "swapaxes");
  std::swap(axes[first], axes[second]);
  return wrap(transpose_by(a.get(), a->ndim, axes));
}

PyObject* call_moveaxis(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "source", "destination", "stream"};
  auto p = parse("moveaxis", kNames, 3, 3, args, n, names);
  NodeRef a = need_array(p[0], "moveaxis");
  int64_t sources[kMaxNdim], targets[kMaxNdim];
  const int count = to_shape(p.values[1], sources, "moveaxis"), wanted = to_shape(p.values[2], targets, "moveaxis");
  if (count != wanted)
    raise_value(message("bridge.moveaxis", "source and destination name different numbers of axes.",
                        shape_text(count, sources) + " and " + shape_text(wanted, targets)));
  int64_t axes[kMaxNdim];
  std::fill_n(axes, a->ndim, -1);
  uint32_t moved = 0;
  for (int i = 0; i < count; ++i) {
    const int from = normalize_axis(sources[i], a->ndim, "moveaxis"),
              to = normalize_axis(targets[i], a->ndim, "moveaxis");
    if (moved >> from & 1 || axes[to] >= 0)
      raise_value(message("bridge.moveaxis", "an axis is named twice.",
                          shape_text(count, sources) + " and " + shape_text(count, targets)));
    moved |= 1u << from;
    axes[to] = from;
  }
  for (int i = 0, next = 0; i < a->ndim; ++i) {  // the others, in order, where there is room
    if (axes[i] >= 0) continue;
    while (moved >> next & 1) ++next;
    axes[i] = next++;
  }
  return wrap(transpose_by(a.get(), a->ndim, axes));
}

PyObject* call_expand_dims(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "axis", "stream"};
  auto p = parse("expand_dims", kNames, 2, 2, args, n, names);
  NodeRef a = need_array(p[0], "expand_dims");
  int64_t values[kMaxNdim];
  int count = to_shape(p.values[1], values, "expand_dims");
  int ndim = a->ndim + count;
  if (ndim > kMaxNdim) raise_value("[bridge.expand_dims] too many dimensions.");
  uint32_t added = 0;
  for (int i = 0; i < count; ++i) {
    uint32_t b = 1u << normalize_axis(values[i], ndim, "expand_dims");
    if (added & b) raise_value("[bridge.expand_dims] an axis is named twice.");
    added |= b;
  }
  int64_t shape[kMaxNdim];
  for (int i = 0, from = 0; i < ndim; ++i) shape[i] = added >> i & 1 ? 1 : a->shape[from++];
  return wrap(make_reshape(a.get(), ndim, shape));
}

PyObject* call_squeeze(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "axis", "stream"};
  auto p = parse("squeeze", kNames, 1, 2, args, n, names);
  NodeRef a = need_array(p[0], "squeeze");
  uint32_t mask = p[1] ? axes_mask(p[1], a->ndim, "squeeze") : 0;
  int64_t shape[kMaxNdim];
  int ndim = 0;
  for (int i = 0; i < a->ndim; ++i) {
    bool drop = p[1] ? mask >> i & 1 : a->shape[i] == 1;
    if (drop && a->shape[i] != 1)
      raise_value(
          message("bridge.squeeze", "axis " + std::to_string(i) + " has an extent other than 1.", describe(a.get())));
    if (!drop) shape[ndim++] = a->shape[i];
  }
  return wrap(make_reshape(a.get(), ndim, shape));
}

PyObject* call_broadcast_to(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "shape", "stream"};
  auto p = parse("broadcast_to", kNames, 2, 2, args, n, names);
  NodeRef a = need_array(p[0], "broadcast_to");
  int64_t shape[kMaxNdim];
  int ndim = to_shape(p.values[1], shape, "broadcast_to");
  return wrap(make_broadcast(a.get(), ndim, shape));
}

PyObject* call_concatenate(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"arrays", "axis", "stream"};
  auto p = parse("concatenate", kNames, 1, 2, args, n, names);
  std::vector<NodeRef> arrays = need_arrays(p.values[0], "concatenate");
  bool flat = p.values[1] == Py_None;
  if (flat)
    for (NodeRef& a : arrays) a = make_reshape(a.get(), 1, &a->size);
  int64_t axis = flat || !p[1] ? 0 : need_int(p[1], "concatenate", "axis");
  return wrap(make_concatenate(arrays.data(), static_cast<int>(arrays.size()),
                               normalize_axis(axis, arrays[0]->ndim, "concatenate")));
}

PyObject* call_stack(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"arrays", "axis", "stream"};
  auto p = parse("stack", kNames, 1, 2, args, n, names);
  std::vector<NodeRef> arrays = need_arrays(p.values[0], "stack");
  int ndim = arrays[0]->ndim + 1;
  if (ndim > kMaxNdim) raise_value("[bridge.stack] too many dimensions.");
  int axis = normalize_axis(p[1] ? need_int(p[1], "stack", "axis") : 0, ndim, "stack");
  int64_t shape[kMaxNdim], common[kMaxNdim];
  memcpy(common, arrays[0]->shape, sizeof(int64_t) * arrays[0]->ndim);
  for (NodeRef& a : arrays) {
    if (a->ndim != ndim - 1 || memcmp(a->shape, common, sizeof(int64_t) * a->ndim))
      raise_value(message("bridge.stack", "the arrays differ in shape.",
                          describe(arrays[0].get()) + " and " + describe(a.get())));
    for (int i = 0, from = 0; i < ndim; ++i) shape[i] = i == axis ? 1 : a->shape[from++];
    a = make_reshape(a.get(), ndim, shape);
  }
  return wrap(make_concatenate(arrays.data(), static_cast<int>(arrays.size()), axis));
}

PyObject* call_matmul(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "b", "stream"};
  auto p = parse("matmul", kNames, 2, 2, args, n, names);
  return wrap(make_matmul(need_operand(p.values[0], "matmul"), need_operand(p.values[1], "matmul")));
}

PyObject* call_cast(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "dtype", "copy", "device", "stream"};
  auto p = parse("cast", kNames, 2, 2, args, n, names);
  if (p[2]) truth(p[2]);  // an array is a value: whether it shares bytes with another cannot be seen
  check_device(p[3]);
  NodeRef a = need_array(p.values[0], "cast");
  DType t = to_dtype(p.values[1]);
  return wrap(t == a->dtype ? make_value(a.get()) : make_cast(a.get(), t));
}

struct Number {
  bool integer = true;
  double real = 0;
  __int128 bits = 0;
};
Number need_number(PyObject* o, const char* op) {
  Operand operand = need_operand(o, op);
  Ref held;
  if (!operand.is_weak()) {  // a 0-d array is read
    if (operand.node->size != 1)
      raise_type(message(std::string("bridge.") + op, "a number is wanted.", describe(operand.node.get())));
    Ref boxed = Ref::check(wrap(operand.node));
    held = Ref::check(to_python(operand.node->dtype, evaluated_node(boxed.get())->data));
    if (!to_weak(held.get(), &operand.weak)) raise_type(std::string("[bridge.") + op + "] a number is wanted.");
  }
  const Weak& w = operand.weak;
  if (w.category == Weak::complex) raise_type(message(std::string("bridge.") + op, "the bounds must be real numbers."));
  if (w.category == Weak::floating) return {false, w.real, 0};
  if (w.is_unsigned) return {true, static_cast<double>(static_cast<uint64_t>(w.bits)), static_cast<uint64_t>(w.bits)};
  return {true, static_cast<double>(w.bits), w.bits};
}

PyObject* call_arange(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"start", "stop", "step", "dtype", "device", "stream"};
  auto p = parse("arange", kNames, 0, 4, args, n, names);
  check_device(p[4]);
  Number start, stop, step{true, 1, 1};
  if (!p[0] && !p[1]) raise_type("arange() missing required argument 'stop'");
  if (!p[1]) {
    stop = need_number(p[0], "arange");
  } else {
    if (p[0]) start = need_number(p[0], "arange");
    stop = need_number(p[1], "arange");
  }
  if (p[2]) step = need_number(p[2], "arange");
  bool integers = start.integer && stop.integer && step.integer;
  if (std::isnan(start.real) || std::isnan(stop.real) || std::isnan(step.real) || std::isinf(start.real) ||
      std::isinf(stop.real))
    raise_value("[bridge.arange] the bounds must be finite numbers.");
  if (step.real == 0) raise_value("[bridge.arange] the step must not be zero.");
  int64_t count = 0;
  if (integers) {
    __int128 span = stop.bits - start.bits, by = step.bits;
    __int128 whole = span / by + (span % by != 0 && (span > 0) == (by > 0) ? 1 : 0);
    if (whole > INT64_MAX / 16) raise_value("[bridge.arange] too many elements.");
    count = whole < 0 || (span > 0) != (by > 0) ? 0 : static_cast<int64_t>(whole);
    if (span == 0) count = 0;
  } else {
    double exact = std::ceil((stop.real - start.real) / step.real);
    if (exact > 9e17) raise_value("[bridge.arange] too many elements.");
    count = exact > 0 ? static_cast<int64_t>(exact) : 0;
  }
  DType t = DType::float32;
  if (p[3]) {
    t = to_dtype(p[3]);
  } else if (integers) {
    const __int128 first = count ? start.bits : 0, last = count ? start.bits + (count - 1) * step.bits : 0;
    auto within = [&](int64_t low, int64_t high) {
      return std::min(first, last) >= low && std::max(first, last) <= high;
    };
    t = within(INT32_MIN, INT32_MAX) ? DType::int32 : within(INT64_MIN, INT64_MAX) ? DType::int64 : DType::uint64;
  }
  Kind k = kind(t);
  bool native = t == DType::float32 || t == DType::float64 ||
                ((k == Kind::signed_integer || k == Kind::unsigned_integer) && integers);
  // Other dtypes count in a wide type and convert.
  DType made = native ? t : integers && k <= Kind::signed_integer ? DType::int64 : DType::float64;
  auto first = static_cast<int64_t>(start.bits),
       by = static_cast<int64_t>(step.bits);  // modulo 2^64, as the loop counts
  return wrap(make_cast(make_arange(made, count, start.real, step.real, first, by).get(), t));
}

PyObject* call_full(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"shape", "fill_value", "dtype", "vals", "device", "stream"};
  auto p = parse("full", kNames, 1, 3, args, n, names);
  check_device(p[4]);
  PyObject* filled = p[1] ? p[1] : p[3];  // MLX's name for it
  if (!filled) raise_type("full() missing required argument 'fill_value'");
  int64_t shape[kMaxNdim];
  int ndim = to_shape(p.values[0], shape, "full");
  for (int i = 0; i < ndim; ++i)
    if (shape[i] < 0) raise_value(message("bridge.full", "an extent is negative.", shape_text(ndim, shape)));
  Operand value = need_operand(filled, "full");
  if (value.is_weak()) {
    DType t = p[2] ? to_dtype(p[2]) : default_dtype(value.weak);
    return wrap(make_constant(t, encode(value.weak, t, "full"), ndim, shape));
  }
  NodeRef a = p[2] ? make_cast(value.node.get(), to_dtype(p[2])) : value.node;
  NodeRef spread = make_broadcast(a.get(), ndim, shape);
  return wrap(make_copy(spread.get()));
}

// One integer an axis, as a fixed-size list.
void need_axes(PyObject* o, const Node* a, int64_t* values, const char* op) {
  if (to_shape(o, values, op) != a->ndim)
    raise_value(message(std::string("bridge.") + op, "one integer an axis is wanted.", describe(a)));
}

void check_region(const Node* a, const int64_t* start, const int64_t* step, const int64_t* count, const char* op) {
  for (int i = 0; i < a->ndim; ++i) {
    int64_t last, span;
    bool overflow = count[i] < 0 || (count[i] > 0 && (__builtin_mul_overflow(count[i] - 1, step[i], &span) ||
                                                      __builtin_add_overflow(start[i], span, &last)));
    if (overflow || (count[i] > 0 && (start[i] < 0 || start[i] >= a->shape[i] || last < 0 || last >= a->shape[i])))
      raise_index(message(std::string("bridge.") + op, "the region leaves the array on axis " + std::to_string(i) + ".",
                          describe(a)));
    if (count[i] > 1 && step[i] == 0)
      raise_value(message(std::string("bridge.") + op, "a step of zero selects one element many times."));
  }
}

PyObject* call_slice(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "start", "step", "count", "stream"};
  auto p = parse("strided_slice", kNames, 4, 4, args, n, names);
  NodeRef a = need_array(p.values[0], "strided_slice");
  int64_t start[kMaxNdim], step[kMaxNdim], count[kMaxNdim];
  need_axes(p.values[1], a.get(), start, "strided_slice");
  need_axes(p.values[2], a.get(), step, "strided_slice");
  need_axes(p.values[3], a.get(), count, "strided_slice");
  check_region(a.get(), start, step, count, "strided_slice");
  return wrap(make_slice(a.get(), start, step, count));
}

PyObject* call_slice_update(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "b", "start", "step", "stream"};
  auto p = parse("strided_update", kNames, 4, 4, args, n, names);
  NodeRef a = need_array(p.values[0], "strided_update"), b = need_array(p.values[1], "strided_update");
  int64_t start[kMaxNdim], step[kMaxNdim];
  need_axes(p.values[2], a.get(), start, "strided_update");
  need_axes(p.values[3], a.get(), step, "strided_update");
  if (b->ndim != a->ndim)
    raise_value(message("bridge.strided_update", "the update has another number of axes.", describe(b.get()),
                        describe(a.get())));
  check_region(a.get(), start, step, b->shape, "strided_update");
  return wrap(make_slice_update(a.get(), start, step, b->shape, b.get()));
}

struct Entry {
  const char* name;
  NativeCall call;
};
constexpr Entry kEntries[] = {
    {"argpartition", call_argpartition},
    {"argsort", call_argsort},
    {"cummax", call_cummax},
    {"cummin", call_cummin},
    {"cumprod", call_cumprod},
    {"cumsum", call_cumsum},
    {"logcumsumexp", call_logcumsumexp},
    {"partition", call_partition},
    {"searchsorted", call_searchsorted},
    {"sort", call_sort},
    {"reshape", call_reshape},
    {"transpose", call_transpose},
    {"flatten", call_flatten},
    {"swapaxes", call_swapaxes},
    {"moveaxis", call_moveaxis},
    {"expand_dims", call_expand_dims},
    {"squeeze", call_squeeze},
    {"broadcast_to", call_broadcast_to},
    {"concatenate", call_concatenate},
    {"conv_general", call_conv_general},
    {"segmented_mm", call_segmented_mm},
    {"stack", call_stack},
    {"matmul", call_matmul},
    {"matmul_gathered", call_matmul_gathered},
    {"cast", call_cast},
    {"arange", call_arange},
    {"full", call_full},
    {"view", call_view},
    {"contiguous", call_contiguous},
    {"after", call_after},
    {"padded", call_padded},
    {"random_sample", call_random_sample},
    {"random_integers", call_random_integers},
    {"random_permutation", call_random_permutation},
    {"strided_slice", call_slice},
    {"strided_update", call_slice_update},
    {"gather", call_gather},
    {"scatter", call_scatter<Combine::set>},
    {"scatter_add", call_scatter<Combine::add>},
    {"scatter_multiply", call_scatter<Combine::multiply>},
    {"scatter_divide", call_scatter<Combine::divide>},
    {"scatter_maximum", call_scatter<Combine::maximum>},
    {"scatter_minimum", call_scatter<Combine::minimum>},
    {"take", call_take},
    {"take_along_axis", call_take_along_axis},
    {"put_along_axis", call_put_along_axis},
    {"stop_gradient", call_stop_gradient},
};

}  // namespace

NativeCall find_structured(const char* name) {
  for (const Entry& e : kEntries)
    if (!strcmp(e.name, name)) return e.call;
  return nullptr;
}

PyObject* method_reshape(PyObject* self, Args args, Py_ssize_t n, PyObject* names) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    static const char* const kNames[] = {"shape", "stream"};
    PyObject* values[2] = {};
    parse_arguments({"reshape", kNames, 2, 0, 0}, args + n, 0, names, values);
    const StreamScope scope(stream_of(values[1]));
    int64_t shape[kMaxNdim];
    int ndim;
    if (values[0])
      ndim = to_shape(values[0], shape, "reshape");
    else
      ndim = shape_arguments(args, n, shape, "reshape");
    return wrap(reshape_to(node_of(self), ndim, shape));
  });
}

PyObject* method_transpose(PyObject* self, Args args, Py_ssize_t n, PyObject* names) {
  return guard(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    static const char* const kNames[] = {"axes", "stream"};
    PyObject* values[2] = {};
    parse_arguments({"transpose", kNames, 2, 0, 0}, args + n, 0, names, values);
    const StreamScope scope(stream_of(values[1]));
    NodeRef a = NodeRef::borrow(node_of(self));
    int64_t axes[kMaxNdim];
    PyObject* given = values[0] ? values[0] : n == 1 ? args[0] : nullptr;
    if (given == Py_None || (n == 0 && !given)) return wrap(reversed(a.get()));
    int count = given ? to_shape(given, axes, "transpose") : shape_arguments(args, n, axes, "transpose");
    return wrap(transpose_by(a.get(), count, axes));
  });
}

}  // namespace bridge
