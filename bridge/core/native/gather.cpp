#include "gather.h"

#include <algorithm>
#include <atomic>
#include <complex>
#include <limits>
#include <string>

#include "errors.h"
#include "held.h"
#include "kernel.h"

namespace bridge {
namespace {

// An element that is moved, whatever it means and wherever it lies.
template <int size>
struct Bytes {
  unsigned char bytes[size];
};

struct Read {
  static constexpr bool moves = true;
  template <class T>
  static void element(T* x, T* y) {
    *y = *x;
  }
  template <class T>
  static void run(T* x, T* y, int64_t n) {
    memcpy(y, x, static_cast<size_t>(n) * sizeof(T));
  }
};

struct Set {
  static constexpr bool moves = true;
  template <class T>
  static void element(T* x, T* y) {
    *x = *y;
  }
  template <class T>
  static void run(T* x, T* y, int64_t n) {
    memcpy(x, y, static_cast<size_t>(n) * sizeof(T));
  }
};

// Signed integers wrap as unsigned ones do.
template <class T>
auto wrapping(T v) {
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>)
    return static_cast<uint64_t>(v);
  else
    return v;
}

template <class T>
bool is_nan(const T& v) {
  return v != v;
}

template <class T>
bool before(const T& a, const T& b) {
  return a < b;
}
template <class T>
bool before(const std::complex<T>& a, const std::complex<T>& b) {  // by real part, then by imaginary part
  return a.real() == b.real() ? a.imag() < b.imag() : a.real() < b.real();
}

struct Add {
  static constexpr bool moves = false;
  template <class T>
  static void element(T* x, const T* y) {
    *x = static_cast<T>(wrapping(*x) + wrapping(*y));
  }
  static void element(bool* x, const bool* y) { *x = *x || *y; }
};

struct Multiply {
  static constexpr bool moves = false;
  template <class T>
  static void element(T* x, const T* y) {
    *x = static_cast<T>(wrapping(*x) * wrapping(*y));
  }
  static void element(bool* x, const bool* y) { *x = *x && *y; }
};

// Of integers: what the true quotient converts to, so the fraction is dropped and a quotient by 0 saturates.
struct Divide {
  static constexpr bool moves = false;
  template <class T>
  static void element(T* x, const T* y) {
    if constexpr (!std::is_integral_v<T>)
      *x = *x / *y;
    else if (*y == 0)
      *x = *x == 0 ? T{0} : before(*x, T{0}) ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
    else if (std::is_signed_v<T> && static_cast<int64_t>(*y) == -1)
      *x = static_cast<T>(0 - wrapping(*x));
    else
      *x = static_cast<T>(*x / *y);
  }
};

struct Maximum {
  static constexpr bool moves = false;
  template <class T>
  static void element(T* x, const T* y) {
    if (!is_nan(*x) && !before(*y, *x)) *x = *y;
  }
};

struct Minimum {
  static constexpr bool moves = false;
  template <class T>
  static void element(T* x, const T* y) {
    if (!is_nan(*x) && !before(*x, *y)) *x = *y;
  }
};

template <class T, class F>
void inner_loop(T* x, T* y, const WalkAxis* axes, int n) {
  const WalkAxis& axis = axes[0];
  if (n > 1) {
    for (int64_t i = 0; i < axis.extent; ++i) inner_loop<T, F>(x + i * axis.x, y + i * axis.y, axes + 1, n - 1);
    return;
  }
  if (axis.x == 1 && axis.y == 1) {
    if constexpr (F::moves)
      F::run(x, y, axis.extent);
    else
      for (int64_t i = 0; i < axis.extent; ++i) F::element(x + i, y + i);
    return;
  }
  for (int64_t i = 0; i < axis.extent; ++i) F::element(x + i * axis.x, y + i * axis.y);
}

// Elements x[places[j]] against y[j * y_step], and the inner axes from there.
using Apply = void (*)(unsigned char* x, const int64_t* places, unsigned char* y, int64_t y_step, int64_t n,
                       const WalkAxis* inner, int n_inner);

template <class T, class F>
void apply(unsigned char* x_bytes, const int64_t* places, unsigned char* y_bytes, int64_t y_step, int64_t n,
           const WalkAxis* inner, int n_inner) {
  auto *x = reinterpret_cast<T*>(x_bytes), *y = reinterpret_cast<T*>(y_bytes);
  if (n_inner > 0)
    for (int64_t j = 0; j < n; ++j) inner_loop<T, F>(x + places[j], y + j * y_step, inner, n_inner);
  else if (y_step == 1)
    for (int64_t j = 0; j < n; ++j) F::element(x + places[j], y + j);
  else
    for (int64_t j = 0; j < n; ++j) F::element(x + places[j], y + j * y_step);
}

template <class F>
Apply moving(DType t) {
  switch (itemsize(t)) {
    case 1: return apply<Bytes<1>, F>;
    case 2: return apply<Bytes<2>, F>;
    case 4: return apply<Bytes<4>, F>;
    case 8: return apply<Bytes<8>, F>;
    default: return apply<Bytes<16>, F>;
  }
}

template <class F>
Apply combining(DType t) {
  switch (t) {
    case DType::bool_:
      if constexpr (std::is_same_v<F, Divide>)
        return nullptr;
      else
        return apply<bool, F>;
    case DType::uint8: return apply<uint8_t, F>;
    case DType::uint16: return apply<uint16_t, F>;
    case DType::uint32: return apply<uint32_t, F>;
    case DType::uint64: return apply<uint64_t, F>;
    case DType::int8: return apply<int8_t, F>;
    case DType::int16: return apply<int16_t, F>;
    case DType::int32: return apply<int32_t, F>;
    case DType::int64: return apply<int64_t, F>;
    case DType::float32: return apply<float, F>;
    case DType::float64: return apply<double, F>;
    case DType::complex64: return apply<std::complex<float>, F>;
    case DType::complex128: return apply<std::complex<double>, F>;
    default: return nullptr;
  }
}

Apply find_apply(Combine c, DType t) {
  switch (c) {
    case Combine::set: return moving<Set>(t);
    case Combine::add: return combining<Add>(t);
    case Combine::multiply: return combining<Multiply>(t);
    case Combine::divide: return combining<Divide>(t);
    case Combine::maximum: return combining<Maximum>(t);
    default: return combining<Minimum>(t);
  }
}

// What the loops below work on. `places`: those of all rows, if they are needed more than once.
struct Job {
  const Walk& walk;
  Apply apply;
  int64_t item;
  unsigned char *x, *y;
  std::unique_ptr<int64_t[]> places;

  int64_t strip() const {  // places for which a piece of y stays in the cache
    return std::clamp<int64_t>((int64_t{1} << 16) / std::max<int64_t>(walk.inner_items * item, 1), 1, kStrip);
  }

  // False: an index is out of bounds.
  bool find_all() {
    places.reset(new int64_t[static_cast<size_t>(walk.n_places())]);
    std::atomic<bool> good{true};
    int64_t strips = (walk.row + kStrip - 1) / kStrip;
    in_parallel(walk.rows * strips, 32, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        int64_t row = unit / strips, at = unit % strips * kStrip;
        if (!find_places(walk, row, at, std::min(kStrip, walk.row - at), &places[row * walk.row + at]))
          good.store(false, std::memory_order_relaxed);
      }
    });
    return good.load(std::memory_order_relaxed);
  }

  // Places [at, at + n) of a row, for the outer item at these offsets.
  bool run(int64_t row, int64_t at, int64_t n, int64_t x_at, int64_t y_at, const WalkAxis* inner) const {
    int64_t local[kStrip];
    const int64_t* found = local;
    if (places)
      found = &places[row * walk.row + at];
    else if (!find_places(walk, row, at, n, local))
      return false;
    int64_t step = walk.y[walk.n_axes - 1];
    y_at += y_of_row(walk, row) + at * step;
    apply(x + x_at * item, found, y + y_at * item, step, n, inner, walk.n_inner);
    return true;
  }

  bool run_all_rows(int64_t x_at, int64_t y_at, const WalkAxis* inner) const {
    for (int64_t row = 0; row < walk.rows; ++row)
      for (int64_t at = 0; at < walk.row; at += kStrip)
        if (!run(row, at, std::min(kStrip, walk.row - at), x_at, y_at, inner)) return false;
    return true;
  }
};

constexpr int64_t kWorthAThread = 1 << 15;  // elements

bool gather(Job& job) {
  const Walk& w = job.walk;
  if (w.outer_items > 1 && !job.find_all()) return false;
  int64_t strip = job.strip(), strips = (w.row + strip - 1) / strip, units = w.rows * strips;
  int64_t unit_items = std::max<int64_t>(std::min(strip, w.row) * w.inner_items, 1);
  std::atomic<bool> good{true};
  in_parallel(w.outer_items * units, std::max<int64_t>(1, kWorthAThread / unit_items), [&](int64_t begin, int64_t end) {
    int64_t x_at = 0, y_at = 0, last_outer = -1;
    for (int64_t k = begin; k < end && good.load(std::memory_order_relaxed); ++k) {
      int64_t outer = k / units, unit = k % units, at = unit % strips * strip;
      if (outer != last_outer) outer_offsets(w, last_outer = outer, &x_at, &y_at);
      if (!job.run(unit / strips, at, std::min(strip, w.row - at), x_at, y_at, w.inner))
        good.store(false, std::memory_order_relaxed);
    }
  });
  return good.load(std::memory_order_relaxed);
}

// Every place is written by one thread, in the order of the updates: threads share out what lies around the places.
bool scatter(Job& job) {
  const Walk& w = job.walk;
  int64_t items = w.outer_items * w.n_places() * w.inner_items, threads = thread_count();
  bool large = items >= 2 * kWorthAThread && threads > 1;
  std::atomic<bool> good{true};
  auto note = [&](bool ok) {
    if (!ok) good.store(false, std::memory_order_relaxed);
  };
  if (w.outer_items > 1) {
    if (!job.find_all()) return false;
    int64_t per_outer = std::max<int64_t>(w.n_places() * w.inner_items, 1);
    in_parallel(w.outer_items, std::max<int64_t>(1, kWorthAThread / per_outer), [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        int64_t x_at, y_at;
        outer_offsets(w, k, &x_at, &y_at);
        note(job.run_all_rows(x_at, y_at, w.inner));
      }
    });
  } else if (large && w.n_inner > 0 && w.inner[0].extent * job.item >= 128 * threads) {
    if (!job.find_all()) return false;
    int64_t extent = w.inner[0].extent;
    in_parallel(extent, (extent + threads - 1) / threads, [&](int64_t begin, int64_t end) {
      WalkAxis part[kMaxNdim];
      std::copy_n(w.inner, w.n_inner, part);
      part[0].extent = end - begin;
      note(job.run_all_rows(begin * part[0].x, begin * part[0].y, part));
    });
  } else {
    note(job.run_all_rows(0, 0, w.inner));
  }
  return good.load(std::memory_order_relaxed);
}

[[noreturn]] void raise_out_of_bounds(const Walk& w, const Places& p, const char* tag, const Node* a) {
  OutOfBounds found = find_out_of_bounds(w);
  if (found.index < 0) raise_index(message(tag, "an index is out of bounds.", describe(a)));
  std::string value =
      found.is_unsigned ? std::to_string(static_cast<uint64_t>(found.value)) : std::to_string(found.value);
  int axis = p.axes[found.index];
  raise_index(message(tag,
                      "index " + value + " is out of bounds for axis " + std::to_string(axis) + " with size " +
                          std::to_string(a->shape[axis]) + ".",
                      describe(a)));
}

PyObject* as_tuple(int n, const int64_t* values) {
  PyObject* tuple = PyTuple_New(n);
  for (int i = 0; tuple && i < n; ++i) PyTuple_SET_ITEM(tuple, i, PyLong_FromLongLong(values[i]));
  return tuple;
}

PyObject* axes_tuple(const Places& p) {
  int64_t axes[kMaxNdim];
  std::copy_n(p.axes, p.n, axes);
  return as_tuple(p.n, axes);
}

double cost_ns(const Walk& w, int64_t item) {
  auto places = static_cast<double>(w.n_places() * w.outer_items);
  return places * (2 + 0.1 * static_cast<double>(w.inner_items * item));
}

void check_index(const Node* a, const Node* index, int axis, const char* tag) {
  Walk w = make_walk(index, a->shape[axis]);
  Places one{1, {axis}, 0};
  if (!in_bounds(w)) raise_out_of_bounds(w, one, tag, a);
}

void check_at_once(const Node* a, Node* const* indices, const Places& p, const char* tag) {
  for (int k = 0; k < p.n; ++k)
    if (indices[k]->evaluated()) check_index(a, indices[k], p.axes[k], tag);
}

// Where other indices leave no places, arrays are not looked at, but numbers must be in bounds, as in NumPy.
void check_numbers(const Node* a, const Node* const* indices, const Places& p, const char* tag) {
  for (int k = 0; k < p.n; ++k)
    if (indices[k]->ndim == 0) check_index(a, indices[k], p.axes[k], tag);
}

struct Gather final : Kernel {
  Places places;

  const char* name() const override { return "gather"; }
  PyObject* parameters() const override {
    return Py_BuildValue("{s:N,s:i}", "axes", axes_tuple(places), "at", places.at);
  }

  void run(KernelRun& r) const override {
    const Node *n = r.node(), *a = r.operand(0), *indices[kMaxNdim];
    for (int k = 0; k < places.n; ++k) indices[k] = r.operand(k + 1);
    int64_t dense[kMaxNdim];
    dense_strides(n->ndim, n->shape, dense);
    Walk w = make_walk(places, a->ndim, a->shape, a->strides, n->ndim, n->shape, dense, indices);
    Job job{w, moving<Read>(n->dtype), itemsize(n->dtype), a->data, r.output(), nullptr};
    bool good = true;
    if (w.n_places() == 0) check_numbers(a, indices, places, "bridge.gather");
    r.compute(cost_ns(w, job.item), [&] { good = n->size ? gather(job) : in_bounds(w); });
    if (!good) raise_out_of_bounds(w, places, "bridge.gather", a);
  }
};

struct Scatter final : Kernel {
  Combine combine;
  Places places;
  Window window;
  int ndim;

  const char* name() const override { return scatter_name(combine); }
  PyObject* parameters() const override {
    auto part = [&](const int64_t* values) { return window.whole ? Py_NewRef(Py_None) : as_tuple(ndim, values); };
    return Py_BuildValue("{s:N,s:i,s:N,s:N,s:N}", "axes", axes_tuple(places), "at", places.at, "start",
                         part(window.start), "step", part(window.step), "count", part(window.count));
  }

  void run(KernelRun& r) const override {
    const Node *n = r.node(), *updates = r.operand(1), *indices[kMaxNdim];
    for (int k = 0; k < places.n; ++k) indices[k] = r.operand(k + 2);
    int64_t steps[kMaxNdim], at = 0;
    dense_strides(ndim, n->shape, steps);
    const int64_t* extents = n->shape;
    if (!window.whole) {
      extents = window.count;
      for (int i = 0; i < ndim; ++i) {
        at += updates->size ? window.start[i] * steps[i] : 0;
        steps[i] *= window.step[i];
      }
    }
    Walk w = make_walk(places, ndim, extents, steps, updates->ndim, updates->shape, updates->strides, indices);
    int64_t item = itemsize(n->dtype);
    if (w.n_places() == 0) check_numbers(n, indices, places, scatter_tag().c_str());
    // Before the first write: an update in place cannot be taken back.
    bool good = true;
    r.compute(2.0 * static_cast<double>(w.n_places()), [&] { good = in_bounds(w); });
    if (!good) raise_out_of_bounds(w, places, scatter_tag().c_str(), n);
    unsigned char* x = r.update(0);
    if (updates->size == 0) return;
    Job job{w, find_apply(combine, n->dtype), item, x + at * item, updates->data, nullptr};
    r.compute(cost_ns(w, item), [&] { good = scatter(job); });
  }

  std::string scatter_tag() const { return std::string("bridge.") + name(); }
};

}  // namespace

const char* scatter_name(Combine c) {
  constexpr const char* kNames[] = {"scatter",        "scatter_add",     "scatter_multiply",
                                    "scatter_divide", "scatter_maximum", "scatter_minimum"};
  return kNames[static_cast<int>(c)];
}

int gather_shape(const Places& p, int ndim, const int64_t* extents, Node* const* indices, int64_t* shape,
                 const char* tag) {
  int place_axes = 0;
  for (int k = 0; k < p.n; ++k) {
    const Node* index = indices[k];
    Kind type = kind(index->dtype);
    if (type != Kind::signed_integer && type != Kind::unsigned_integer)
      raise_index(message(tag, "arrays used as indices must be of integers, or of bool as a mask.", describe(index), "",
                          "index.astype(bridge.int64)"));
    place_axes = std::max<int>(place_axes, index->ndim);
  }
  if (ndim - p.n + place_axes > kMaxNdim) raise_value(message(tag, "the result would have too many dimensions."));
  int64_t* common = shape + p.at;
  std::fill_n(common, place_axes, 1);
  for (int k = 0; k < p.n; ++k) {
    const Node* index = indices[k];
    for (int i = 0; i < index->ndim; ++i) {
      int64_t& extent = common[i + place_axes - index->ndim];
      if (extent == 1)
        extent = index->shape[i];
      else if (index->shape[i] != 1 && index->shape[i] != extent) {
        std::string shapes;
        for (int j = 0; j < p.n; ++j) shapes += (j ? " and " : "") + shape_text(indices[j]->ndim, indices[j]->shape);
        raise_index(message(tag, "the indices cannot be broadcast together.", shapes));
      }
    }
  }
  int other = 0;
  for (int axis = 0, k = 0; axis < ndim; ++axis) {
    if (k < p.n && p.axes[k] == axis) {
      ++k;
      continue;
    }
    shape[other < p.at ? other : other + place_axes] = extents[axis];
    ++other;
  }
  return ndim - p.n + place_axes;
}

NodeRef make_gather(Node* a, Node* const* indices, const Places& p, const char* tag) {
  int64_t shape[kMaxNdim];
  int ndim = gather_shape(p, a->ndim, a->shape, indices, shape, tag);
  Node* operands[kMaxNdim + 1] = {a};
  std::copy_n(indices, p.n, operands + 1);
  auto kernel = std::make_unique<Gather>();
  kernel->places = p;
  NodeRef n = make_kernel(std::move(kernel), a->dtype, ndim, shape, operands, p.n + 1);
  int64_t places = 1;
  for (int i = 0; i < ndim - (a->ndim - p.n); ++i) places *= shape[p.at + i];
  if (places) check_at_once(a, indices, p, tag);
  return finish(std::move(n));
}

NodeRef make_scatter(Combine combine, Node* a, Node* updates, Node* const* indices, const Places& p,
                     const Window& window, const char* tag) {
  bool moves = combine == Combine::set;
  if (!moves) check_computed(a->dtype, scatter_name(combine));
  if (a->dtype == DType::bool_ && combine == Combine::divide)
    raise_dtype(message(tag, "bool is not a dtype that it works with.", describe(a)));
  if (!moves && (a->dtype == DType::float16 || a->dtype == DType::bfloat16)) {
    NodeRef wide = make_cast(a, DType::float32), wide_updates = make_cast(updates, DType::float32);
    NodeRef sum = make_scatter(combine, wide.get(), wide_updates.get(), indices, p, window, tag);
    return make_cast(sum.get(), a->dtype);
  }
  int64_t shape[kMaxNdim];
  int ndim = gather_shape(p, a->ndim, window.whole ? a->shape : window.count, indices, shape, tag);
  NodeRef converted = make_cast(updates, a->dtype);
  NodeRef spread = make_broadcast(converted.get(), ndim, shape);
  int64_t places = 1;
  for (int i = 0; i < ndim - (a->ndim - p.n); ++i) places *= shape[p.at + i];
  if (places) check_at_once(a, indices, p, tag);
  Node* operands[kMaxNdim + 2] = {a, spread.get()};
  std::copy_n(indices, p.n, operands + 2);
  auto kernel = std::make_unique<Scatter>();
  kernel->combine = combine;
  kernel->places = p;
  kernel->window = window;
  kernel->ndim = a->ndim;
  return finish(make_kernel(std::move(kernel), a->dtype, a->ndim, a->shape, operands, p.n + 2));
}

}  // namespace bridge
