// Walks over strided arrays: merging of axes, cursors, gathering into and scattering from dense strips.
#include <cstring>

#include "pipeline.h"

namespace bridge::pipeline {
namespace {

// All loads and stores through memcpy: the elements of an imported array may lie at any address.
template <int Size>
void copy_elements(char* d, int64_t d_stride, const char* s, int64_t s_stride, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    char element[Size];
    std::memcpy(element, s + i * s_stride, Size);
    std::memcpy(d + i * d_stride, element, Size);
  }
}

template <int Size>
void fill_elements(char* d, const char* s, int64_t n) {
  char element[Size];
  std::memcpy(element, s, Size);
  for (int64_t i = 0; i < n; i++) std::memcpy(d + i * Size, element, Size);
}

void dense_strides(int64_t* strides, const KernelSpec& spec) {
  int64_t stride = 1;
  for (int i = spec.ndim; i-- > 0;) {
    strides[i] = stride;
    stride *= spec.shape[i];
  }
}

struct Raw {  // an access before merging
  char* base;
  const int64_t* strides;  // elements; nullptr: dense, or a scalar
  int size;
};

// Visits the row segments of [flat, flat + n): fn(address, count, elements done before).
template <class Fn>
void for_rows(const Layout& layout, const Access& access, int64_t flat, int64_t n, Fn fn) {
  const int inner = layout.ndim - 1;
  int64_t index[kMaxNdim];
  char* row = access.base;
  int64_t rest = flat;
  int64_t column = rest % layout.shape[inner];
  rest /= layout.shape[inner];
  for (int i = inner; i-- > 0;) {
    index[i] = rest % layout.shape[i];
    rest /= layout.shape[i];
    row += index[i] * access.strides[i];
  }
  for (int64_t done = 0;;) {
    const int64_t left = layout.shape[inner] - column, count = left < n - done ? left : n - done;
    fn(row + column * access.strides[inner], count, done);
    done += count;
    if (done == n) return;
    column = 0;
    for (int i = inner; i-- > 0;) {
      row += access.strides[i];
      if (++index[i] < layout.shape[i]) break;
      row -= layout.shape[i] * access.strides[i];
      index[i] = 0;
    }
  }
}

}  // namespace

void copy_strided(char* d, int64_t d_stride, const char* s, int64_t s_stride, int size, int64_t n) {
  if (s_stride == size && d_stride == size) {
    std::memcpy(d, s, static_cast<size_t>(n * size));
    return;
  }
  const bool fill = s_stride == 0 && d_stride == size;
  switch (size) {
    case 1: return fill ? fill_elements<1>(d, s, n) : copy_elements<1>(d, d_stride, s, s_stride, n);
    case 2: return fill ? fill_elements<2>(d, s, n) : copy_elements<2>(d, d_stride, s, s_stride, n);
    case 4: return fill ? fill_elements<4>(d, s, n) : copy_elements<4>(d, d_stride, s, s_stride, n);
    case 8: return fill ? fill_elements<8>(d, s, n) : copy_elements<8>(d, d_stride, s, s_stride, n);
    default: return fill ? fill_elements<16>(d, s, n) : copy_elements<16>(d, d_stride, s, s_stride, n);
  }
}

void make_layout(Layout& layout, const KernelSpec& spec, const AxisOrder& order) {
  layout.size = spec.size;
  layout.n_access = spec.n_inputs + spec.n_outputs;
  Raw raw[kMaxAccess];
  bool all_dense = true;
  for (int k = 0; k < spec.n_inputs; k++) {
    const Input& in = spec.inputs[k];
    raw[k] = {in.is_scalar ? nullptr : const_cast<char*>(static_cast<const char*>(in.data)), in.strides,
              static_cast<int>(itemsize(in.dtype))};
    all_dense &= in.is_scalar || in.strides == nullptr;
  }
  for (int j = 0; j < spec.n_outputs; j++) {
    const Output& out = spec.outputs[j];
    raw[spec.n_inputs + j] = {static_cast<char*>(out.data), out.strides, static_cast<int>(itemsize(out.dtype))};
    all_dense &= out.strides == nullptr;
  }

  bool one_group = true;
  for (int i = 0; i < order.n; i++) one_group &= order.axis[i] == i && order.group[i] == order.group[0];
  if (all_dense && one_group) {  // the usual case: one axis
    layout.ndim = 1;
    layout.shape[0] = spec.size;
    for (int k = 0; k < layout.n_access; k++) {
      Access& access = layout.access[k];
      access.base = raw[k].base;
      access.size = raw[k].size;
      access.strides[0] = raw[k].size;
      access.flat = true;
    }
    return;
  }

  int64_t dense[kMaxNdim];
  dense_strides(dense, spec);
  const auto stride = [&](int k, int axis) {
    return raw[k].base == nullptr ? 0 : (raw[k].strides ? raw[k].strides : dense)[axis] * raw[k].size;
  };
  int ndim = 0, last_group = 0;
  for (int i = 0; i < order.n; i++) {
    const int axis = order.axis[i];
    const int64_t extent = spec.shape[axis];
    if (extent == 1) continue;
    bool merge = ndim > 0 && order.group[i] == last_group;
    for (int k = 0; merge && k < layout.n_access; k++)
      merge = layout.access[k].strides[ndim - 1] == stride(k, axis) * extent;
    if (merge) {
      layout.shape[ndim - 1] *= extent;
    } else {
      layout.shape[ndim++] = extent;
    }
    last_group = order.group[i];
    for (int k = 0; k < layout.n_access; k++) layout.access[k].strides[ndim - 1] = stride(k, axis);
  }
  if (ndim == 0) {
    ndim = 1;
    layout.shape[0] = 1;
    for (int k = 0; k < layout.n_access; k++) layout.access[k].strides[0] = raw[k].size;
  }
  layout.ndim = ndim;
  for (int k = 0; k < layout.n_access; k++) {
    Access& access = layout.access[k];
    access.base = raw[k].base;
    access.size = raw[k].size;
    int64_t expected = access.size;
    access.flat = true;
    for (int i = ndim; i-- > 0; expected *= layout.shape[i]) access.flat &= access.strides[i] == expected;
  }
}

void Cursor::seek(const Layout& layout, int64_t flat) {
  const int inner = layout.ndim - 1;
  column = flat % layout.shape[inner];
  flat /= layout.shape[inner];
  for (int i = inner; i-- > 0;) {
    index[i] = flat % layout.shape[i];
    flat /= layout.shape[i];
  }
  for (int k = 0; k < layout.n_access; k++) {
    const Access& access = layout.access[k];
    row[k] = access.base;
    if (access.base == nullptr) continue;
    for (int i = 0; i < inner; i++) row[k] += index[i] * access.strides[i];
  }
}

void Cursor::next_row(const Layout& layout) {
  column = 0;
  for (int i = layout.ndim - 1; i-- > 0;) {
    const bool wrap = ++index[i] == layout.shape[i];
    const int64_t steps = wrap ? 1 - layout.shape[i] : 1;
    for (int k = 0; k < layout.n_access; k++)
      if (row[k] != nullptr) row[k] += steps * layout.access[k].strides[i];
    if (!wrap) return;
    index[i] = 0;
  }
}

void gather(const Layout& layout, const Access& access, int64_t flat, int64_t n, void* strip) {
  const int size = access.size;
  const int64_t stride = access.strides[layout.ndim - 1];
  for_rows(layout, access, flat, n, [&](const char* at, int64_t count, int64_t done) {
    copy_strided(static_cast<char*>(strip) + done * size, size, at, stride, size, count);
  });
}

void scatter(const Layout& layout, const Access& access, int64_t flat, int64_t n, const void* strip) {
  const int size = access.size;
  const int64_t stride = access.strides[layout.ndim - 1];
  for_rows(layout, access, flat, n, [&](char* at, int64_t count, int64_t done) {
    copy_strided(at, stride, static_cast<const char*>(strip) + done * size, size, size, count);
  });
}

}  // namespace bridge::pipeline
