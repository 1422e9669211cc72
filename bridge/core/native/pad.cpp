// pad: the operand in the middle of the result, and around it a constant or what lies at the edges.
#include "pad.h"

#include <string>

#include "kernel.h"

namespace bridge {
namespace {

enum class Mode : uint8_t { constant, edge, reflect, symmetric };
constexpr const char* kModes[] = {"constant", "edge", "reflect", "symmetric"};

// The element of an axis that stands at `place`, counted from the axis's first element, when the axis is read to and fro.
int64_t folded(int64_t place, int64_t extent, Mode mode) {
  if (mode == Mode::edge || extent == 1) return place < 0 ? 0 : extent - 1;
  const int64_t period = mode == Mode::reflect ? 2 * (extent - 1) : 2 * extent;
  int64_t at = place % period;
  if (at < 0) at += period;
  return at < extent ? at : period - at - (mode == Mode::symmetric ? 1 : 0);
}

template <int Size>
void repeat_value(unsigned char* to, const unsigned char* value, int64_t count) {
  for (int64_t i = 0; i < count; ++i) memcpy(to + i * Size, value, Size);
}
using RepeatFn = void (*)(unsigned char*, const unsigned char*, int64_t);
RepeatFn repeat_of(int64_t item) {
  switch (item) {
    case 1: return repeat_value<1>;
    case 2: return repeat_value<2>;
    case 4: return repeat_value<4>;
    case 8: return repeat_value<8>;
    default: return repeat_value<16>;
  }
}

struct Pad final : Kernel {
  Mode mode;
  int ndim;
  int64_t before[kMaxNdim], after[kMaxNdim];

  const char* name() const override { return "padded"; }
  PyObject* parameters() const override {
    return Py_BuildValue("{s:N,s:N,s:s}", "before", shape_tuple(ndim, before), "after", shape_tuple(ndim, after),
                         "mode", kModes[static_cast<int>(mode)]);
  }
  void run(KernelRun& r) const override {
    const Node *n = r.node(), *a = r.operand(0);
    const int64_t item = itemsize(n->dtype);
    unsigned char* out = r.output();
    const unsigned char* value = r.dense(1);
    int64_t strides[kMaxNdim], first = 0;
    dense_strides(n->ndim, n->shape, strides);
    for (int i = 0; i < ndim; ++i) first += before[i] * strides[i];
    if (a->size) copy_to(a, out + first * item, strides);
    r.compute(0.3 * static_cast<double>(n->size - a->size), [&] {
      for (int axis = ndim - 1; axis >= 0; --axis) pad_axis(n, a, axis, strides, out, value);
    });
  }

 private:
  // Around one axis, whose slabs are complete within: the axes behind it have been padded. The axes before it have not,
  // so there is work in their middle only.
  void pad_axis(const Node* n, const Node* a, int axis, const int64_t* strides, unsigned char* out,
                const unsigned char* value) const {
    if (!before[axis] && !after[axis]) return;
    const int64_t item = itemsize(n->dtype), slab = strides[axis], extent = a->shape[axis];
    const RepeatFn repeat = repeat_of(item);
    int64_t index[kMaxNdim] = {}, rows = 1;
    for (int i = 0; i < axis; ++i) rows *= a->shape[i];
    for (int64_t row = 0; row < rows; ++row) {
      unsigned char* base = out;  // of the axis's element 0
      for (int i = 0; i < axis; ++i) base += (before[i] + index[i]) * strides[i] * item;
      unsigned char* end = base + (before[axis] + extent) * slab * item;
      if (mode == Mode::constant) {
        repeat(base, value, before[axis] * slab);
        repeat(end, value, after[axis] * slab);
      } else {
        reflect(base, -before[axis], 0, extent, base + before[axis] * slab * item, slab, item, repeat);
        reflect(end, extent, extent + after[axis], extent, base + before[axis] * slab * item, slab, item, repeat);
      }
      for (int i = axis; i-- > 0 && ++index[i] == a->shape[i];) index[i] = 0;
    }
  }
  void reflect(unsigned char* to, int64_t place, int64_t stop, int64_t extent, const unsigned char* middle,
               int64_t slab, int64_t item, RepeatFn repeat) const {
    for (; place < stop; ++place, to += slab * item) {
      const unsigned char* from = middle + folded(place, extent, mode) * slab * item;
      if (slab == 1)
        repeat(to, from, 1);
      else
        memcpy(to, from, static_cast<size_t>(slab * item));
    }
  }
};

Mode need_mode(PyObject* o) {
  const char* text = PyUnicode_Check(o) ? PyUnicode_AsUTF8(o) : nullptr;
  for (int i = 0; text && i < 4; ++i)
    if (!strcmp(text, kModes[i])) return static_cast<Mode>(i);
  raise_value(message("bridge.pad", "there is no such mode.", text ? text : Py_TYPE(o)->tp_name,
                      "constant, edge, reflect or symmetric"));
}

}  // namespace

PyObject* call_padded(Args args, Py_ssize_t n, PyObject* names) {
  static const char* const kNames[] = {"a", "value", "before", "after", "mode", "stream"};
  auto p = parse("pad", kNames, 5, 5, args, n, names);
  NodeRef a = need_array(p.values[0], "pad"), value = need_array(p.values[1], "pad");
  auto pad = std::make_unique<Pad>();
  pad->mode = need_mode(p.values[4]);
  pad->ndim = a->ndim;
  if (to_shape(p.values[2], pad->before, "pad") != a->ndim || to_shape(p.values[3], pad->after, "pad") != a->ndim)
    raise_value(message("bridge.pad", "one pair of widths an axis is wanted.", describe(a.get())));
  if (value->size != 1 || value->dtype != a->dtype)
    raise_value(message("bridge.pad", "one constant of the array's dtype is wanted.", describe(value.get())));
  int64_t shape[kMaxNdim];
  for (int i = 0; i < a->ndim; ++i) {
    if (pad->before[i] < 0 || pad->after[i] < 0)
      raise_value(message("bridge.pad", "a width is negative.",
                          shape_text(a->ndim, pad->before) + ", " + shape_text(a->ndim, pad->after)));
    if (pad->mode != Mode::constant && a->shape[i] == 0 && pad->before[i] + pad->after[i] > 0)
      raise_value(message("bridge.pad", "axis " + std::to_string(i) + " has no element to repeat.", describe(a.get())));
    if (__builtin_add_overflow(a->shape[i], pad->before[i], &shape[i]) ||
        __builtin_add_overflow(shape[i], pad->after[i], &shape[i]))
      raise_value(message("bridge.pad", "the widths are too large.", describe(a.get())));
  }
  const DType t = a->dtype;
  const int ndim = a->ndim;
  return wrap(finish(make_kernel(std::move(pad), t, ndim, shape, {a.get(), value.get()})));
}

}  // namespace bridge
