#include "places.h"

#include <algorithm>
#include <atomic>

#include "isa.h"
#include "places_table.h"

namespace bridge {

namespace isa_v2 {
extern const PlacesTable places_loops;
}
namespace isa_v3 {
extern const PlacesTable places_loops;
}
namespace isa_v4 {
extern const PlacesTable places_loops;
}
namespace isa_neon {
extern const PlacesTable places_loops;
}
namespace isa_generic {
extern const PlacesTable places_loops;
}

const PlacesTable& places_table() {
  static const PlacesTable& table = []() -> const PlacesTable& {
#if defined(__x86_64__)
    switch (isa()) {
      case Isa::v4: return isa_v4::places_loops;
      case Isa::v3: return isa_v3::places_loops;
      default: return isa_v2::places_loops;
    }
#elif defined(__aarch64__)
    return isa_neon::places_loops;
#else
    return isa_generic::places_loops;
#endif
  }();
  return table;
}

namespace {

void push_axis(WalkAxis* axes, int& n, const WalkAxis& axis) {
  if (axis.extent == 1) return;
  if (n > 0) {
    WalkAxis& last = axes[n - 1];
    if (last.x == axis.extent * axis.x && last.y == axis.extent * axis.y) {
      last = {last.extent * axis.extent, axis.x, axis.y};
      return;
    }
  }
  axes[n++] = axis;
}

// Strides of a node along the axes of a shape that it broadcasts to.
int64_t stride_along(const Node* a, int axis, int ndim, const int64_t* shape) {
  int at = axis - (ndim - a->ndim);
  return at < 0 || (a->shape[at] == 1 && shape[axis] != 1) ? 0 : a->strides[at];
}

void push_place_axis(Walk& w, int64_t extent, int64_t y, const int64_t* strides) {
  if (extent == 1) return;
  if (w.n_axes > 0) {
    int last = w.n_axes - 1;
    bool joins = w.y[last] == extent * y;
    for (int k = 0; joins && k < w.n_indices; ++k) joins = w.indices[k].strides[last] == extent * strides[k];
    if (joins) {
      w.extents[last] *= extent;
      w.y[last] = y;
      for (int k = 0; k < w.n_indices; ++k) w.indices[k].strides[last] = strides[k];
      return;
    }
  }
  w.extents[w.n_axes] = extent;
  w.y[w.n_axes] = y;
  for (int k = 0; k < w.n_indices; ++k) w.indices[k].strides[w.n_axes] = strides[k];
  ++w.n_axes;
}

void count_places(Walk& w) {
  if (w.n_axes == 0) {
    w.extents[0] = 1;
    w.y[0] = 0;
    for (int k = 0; k < w.n_indices; ++k) w.indices[k].strides[0] = 0;
    w.n_axes = 1;
  }
  for (int i = 0; i < w.n_axes - 1; ++i) w.rows *= w.extents[i];
  w.row = w.extents[w.n_axes - 1];
}

// An index as a number from 0, and whether it is one.
template <class T>
inline bool wrap_index(T index, int64_t extent, int64_t* out) {
  auto i = static_cast<int64_t>(index);
  if constexpr (std::is_signed_v<T>) i += i < 0 ? extent : 0;
  *out = i;
  return static_cast<uint64_t>(i) < static_cast<uint64_t>(extent);
}

int64_t load_index(const WalkIndex& w, int64_t at) {
  const unsigned char* p = w.data + at * itemsize(w.dtype);
  auto load = [&]<class T>(T v) {
    memcpy(&v, p, sizeof v);
    return static_cast<int64_t>(v);
  };
  switch (w.dtype) {
    case DType::uint8: return load(uint8_t{});
    case DType::uint16: return load(uint16_t{});
    case DType::uint32: return load(uint32_t{});
    case DType::int8: return load(int8_t{});
    case DType::int16: return load(int16_t{});
    case DType::int32: return load(int32_t{});
    default: return load(int64_t{});
  }
}

bool load_counted(const WalkIndex& w, int64_t at, int64_t* out) {
  int64_t index = load_index(w, at);
  return kind(w.dtype) == Kind::unsigned_integer ? wrap_index(static_cast<uint64_t>(index), w.extent, out)
                                                 : wrap_index(index, w.extent, out);
}

int loop_of(const WalkIndex& w) { return static_cast<int>(w.dtype) - static_cast<int>(DType::uint8); }

bool add_places(const WalkIndex& w, int64_t base, int64_t stride, int64_t n, bool first, int64_t* out) {
  if (stride == 1) {
    const PlacesTable& table = places_table();
    FindFn find = (first ? table.set : table.add)[loop_of(w)];
    return find(w.data + base * itemsize(w.dtype), n, w.extent, w.step, out);
  }
  bool good = true;
  int64_t i = 0;
  if (stride == 0) good = load_counted(w, base, &i);
  for (int64_t j = 0; j < n; ++j) {
    if (stride != 0) good &= load_counted(w, base + j * stride, &i);
    out[j] = (first ? 0 : out[j]) + i * w.step;
  }
  return good;
}

int64_t base_of_row(const Walk& w, const WalkIndex& index, int64_t row) {
  int64_t base = 0;
  for (int i = w.n_axes - 2; i >= 0; --i) {
    base += row % w.extents[i] * index.strides[i];
    row /= w.extents[i];
  }
  return base;
}

}  // namespace

Walk make_walk(const Places& p, int ndim, const int64_t* extents, const int64_t* steps, int y_ndim,
               const int64_t* y_shape, const int64_t* y_strides, const Node* const* indices) {
  Walk w;
  int n_others = ndim - p.n, place_axes = y_ndim - n_others;
  for (int axis = 0, other = 0, k = 0; axis < ndim; ++axis) {
    if (k < p.n && p.axes[k] == axis) {
      w.indices[k] = {indices[k]->data, indices[k]->dtype, extents[axis], steps[axis], {}};
      ++k;
      continue;
    }
    bool before = other < p.at;
    int64_t y = y_strides[before ? other : other + place_axes];
    (before ? w.outer_items : w.inner_items) *= extents[axis];
    push_axis(before ? w.outer : w.inner, before ? w.n_outer : w.n_inner, {extents[axis], steps[axis], y});
    ++other;
  }
  w.n_indices = p.n;
  for (int i = 0; i < place_axes; ++i) {
    int64_t strides[kMaxNdim];
    for (int k = 0; k < p.n; ++k) strides[k] = stride_along(indices[k], i, place_axes, y_shape + p.at);
    push_place_axis(w, y_shape[p.at + i], y_strides[p.at + i], strides);
  }
  count_places(w);
  return w;
}

Walk make_walk(const Node* index, int64_t extent) {
  Walk w;
  w.n_indices = 1;
  w.indices[0] = {index->data, index->dtype, extent, 1, {}};
  for (int i = 0; i < index->ndim; ++i) push_place_axis(w, index->shape[i], 0, index->strides + i);
  count_places(w);
  return w;
}

bool find_places(const Walk& w, int64_t row, int64_t begin, int64_t n, int64_t* out) {
  int last = w.n_axes - 1;
  for (int k = 0; k < w.n_indices; ++k) {
    const WalkIndex& index = w.indices[k];
    int64_t stride = index.strides[last];
    if (!add_places(index, base_of_row(w, index, row) + begin * stride, stride, n, k == 0, out)) return false;
  }
  return true;
}

int64_t y_of_row(const Walk& w, int64_t row) {
  int64_t y = 0;
  for (int i = w.n_axes - 2; i >= 0; --i) {
    y += row % w.extents[i] * w.y[i];
    row /= w.extents[i];
  }
  return y;
}

void outer_offsets(const Walk& w, int64_t k, int64_t* x, int64_t* y) {
  *x = *y = 0;
  for (int i = w.n_outer - 1; i >= 0; --i) {
    int64_t at = k % w.outer[i].extent;
    *x += at * w.outer[i].x;
    *y += at * w.outer[i].y;
    k /= w.outer[i].extent;
  }
}

bool in_bounds(const Walk& w) {
  std::atomic<bool> good{true};
  int64_t strips = (w.row + kStrip - 1) / kStrip, strip = std::clamp<int64_t>(w.row, 1, kStrip);
  const PlacesTable& table = places_table();
  auto check = [&](int64_t row, int64_t begin, int64_t n) {
    int64_t unused[kStrip];
    for (int k = 0; k < w.n_indices; ++k) {
      const WalkIndex& index = w.indices[k];
      int64_t stride = index.strides[w.n_axes - 1], base = base_of_row(w, index, row) + begin * stride;
      bool all = stride == 1   ? table.check[loop_of(index)](index.data + base * itemsize(index.dtype), n, index.extent)
                 : stride == 0 ? load_counted(index, base, unused)
                               : add_places(index, base, stride, n, true, unused);
      if (!all) return false;
    }
    return true;
  };
  in_parallel(w.rows * strips, 64 * kStrip / strip, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end && good.load(std::memory_order_relaxed); ++unit) {
      int64_t at = unit % strips * kStrip;
      if (!check(unit / strips, at, std::min(kStrip, w.row - at))) good.store(false, std::memory_order_relaxed);
    }
  });
  return good.load(std::memory_order_relaxed);
}

OutOfBounds find_out_of_bounds(const Walk& w) {
  for (int64_t row = 0; row < w.rows; ++row)
    for (int64_t j = 0; j < w.row; ++j)
      for (int k = 0; k < w.n_indices; ++k) {
        const WalkIndex& index = w.indices[k];
        int64_t place = base_of_row(w, index, row) + j * index.strides[w.n_axes - 1], at;
        if (!load_counted(index, place, &at))
          return {k, load_index(index, place), kind(index.dtype) == Kind::unsigned_integer};
      }
  return {-1, 0, false};
}

}  // namespace bridge
