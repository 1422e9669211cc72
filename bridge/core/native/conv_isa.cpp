// The kernels of convolutions for one SIMD level. Compiled like matmul_isa.cpp, and under the same rules.
#ifndef BRIDGE_ISA_NS
#error "BRIDGE_ISA_NS must name the SIMD level"
#endif

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "conv_kernels.h"
#include "matmul_kernels.h"

namespace bridge::BRIDGE_ISA_NS {
namespace {
// clang-format off: each builds on those before it
#include "matmul_vector.inc"
#include "matmul_kinds.inc"
#include "matmul_panels.inc"
// clang-format on

using conv_detail::Lanes;
using conv_detail::Line;
using conv_detail::Segment;
using conv_detail::Tiles;

// ---- tiles: positions x output channels --------------------------------------------------------------------

struct Window {
  const Segment* begin;
  const Segment* end;
  const char* a;
  int64_t a_row;  // units
  const char* b;
  char* c;
  int64_t c_row;  // accumulators
  bool accumulate;
};

// c[R, V vectors] = sum over the segments, or c += it. Rows from `rows` on repeat the last one and are not stored.
template <class K, int R, int V>
void window(const Window& w, int rows) {
  using Lane = typename K::Lane;
  using Sum = Vec<typename K::SumLane>;
  constexpr int64_t unit = sizeof(typename K::Unit), total = sizeof(typename K::Sum), b_row = Shape<K>::columns * unit;
  Sum sum[R][V][K::parts] = {};
  const char* row[R];
#pragma GCC unroll 8
  for (int i = 0; i < R; i++) {
    row[i] = w.a + (i < rows ? i : rows - 1) * w.a_row * unit;
    __builtin_prefetch(w.c + (i < rows ? i : rows - 1) * w.c_row * total, 1);
  }
  for (const Segment* s = w.begin; s < w.end; s++) {
    const char* b = w.b + s->b * b_row;
    const int64_t end = (s->a + s->k) * unit;
    for (int64_t at = s->a * unit; at < end; at += unit, b += b_row) {
      Vec<Lane> y[V];
#pragma GCC unroll 4
      for (int j = 0; j < V; j++) y[j] = load<Lane>(b + j * kVectorBytes);
#pragma GCC unroll 8
      for (int i = 0; i < R; i++) {
#pragma GCC unroll 2
        for (int q = 0; q < K::parts; q++) {
          const Vec<Lane> x = splat<Lane>(load_one<Lane>(row[i] + at + q * sizeof(Lane)));
#pragma GCC unroll 4
          for (int j = 0; j < V; j++) sum[i][j][q] = K::step(sum[i][j][q], x, y[j]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; i++) {
    if (i >= rows) break;
#pragma GCC unroll 4
    for (int j = 0; j < V; j++) {
      char* to = w.c + i * w.c_row * total + j * kVectorBytes;
      Sum value = sum[i][j][0];
      if constexpr (K::parts == 2) value = K::join(value, sum[i][j][1]);
      save(to, w.accumulate ? K::add(load<typename K::SumLane>(to), value) : value);
    }
  }
}

template <class K, int R>
inline void pick_vectors(const Window& w, int rows, int vectors) {
  if constexpr (Shape<K>::vectors == 3)
    if (vectors == 3) return window<K, R, 3>(w, rows);
  if (vectors == 2) return window<K, R, 2>(w, rows);
  window<K, R, 1>(w, rows);
}
template <class K>
inline void pick_window(const Window& w, int rows, int vectors) {
  constexpr int full = Shape<K>::rows, half = (full + 1) / 2;
  if (rows > half) return pick_vectors<K, full>(w, rows, vectors);
  if (rows > 1) return pick_vectors<K, half>(w, rows, vectors);
  pick_vectors<K, 1>(w, rows, vectors);
}

template <class K>
void tiles(const Tiles& job) {
  using S = Shape<K>;
  constexpr int64_t unit = sizeof(typename K::Unit), element = sizeof(typename K::Element),
                    total = sizeof(typename K::Sum);
  for (int64_t j = 0; j < job.n; j += S::columns) {
    const int64_t cols = job.n - j < S::columns ? job.n - j : S::columns;
    const int vectors = static_cast<int>((cols + S::lanes - 1) / S::lanes);
    const bool aside = K::narrows || cols != vectors * S::lanes;  // the result holds no whole vectors of accumulators
    const char* b = static_cast<const char*>(job.b) + j / S::columns * job.panel * unit;
    for (int64_t p = 0; p < job.n_blocks; p++) {
      char* sums = static_cast<char*>(job.sums);
      for (int64_t l = 0; l < job.n_lines; l++) {
        const Line& line = job.lines[l];
        char* out = static_cast<char*>(line.out) + (job.out_shift + j) * element;
        Window w{line.segments + line.blocks[p],
                 line.segments + line.blocks[p + 1],
                 static_cast<const char*>(line.a) + job.a_shift * unit,
                 line.a_row,
                 b,
                 aside ? sums : out,
                 aside ? S::columns : line.out_row,
                 p > 0};
        if (w.begin < w.end || p == 0)
          for (int64_t i = 0; i < line.count; i += S::rows) {
            pick_window<K>(w, static_cast<int>(line.count - i < S::rows ? line.count - i : S::rows), vectors);
            w.a += S::rows * w.a_row * unit;
            w.c += S::rows * w.c_row * total;
          }
        if (aside && p + 1 == job.n_blocks) store<K>(sums, S::columns, out, line.out_row, 1, line.count, cols);
        sums += line.count * S::columns * total;
      }
    }
  }
}

// ---- lanes: every channel by itself ------------------------------------------------------------------------

// R positions, V vectors of channels.
template <class K, int R, int V>
void strand(const Lanes& job, const char* a, const char* b, char* out, int64_t cols) {
  using Lane = typename K::Lane;
  using Sum = Vec<typename K::SumLane>;
  constexpr int64_t unit = sizeof(typename K::Unit), element = sizeof(typename K::Element),
                    total = sizeof(typename K::Sum);
  const int64_t a_row = job.line.a_row * unit, b_row = job.pitch * unit;
  Sum sum[R][V] = {};
  for (const Segment *s = job.line.segments, *end = s + job.n_segments; s < end; s++) {
    Vec<Lane> y[V];
    const char* weights = b + s->b * b_row;
    const char* from = a + s->a * unit;
#pragma GCC unroll 4
    for (int j = 0; j < V; j++) y[j] = load<Lane>(weights + j * kVectorBytes);
#pragma GCC unroll 4
    for (int i = 0; i < R; i++) {
#pragma GCC unroll 4
      for (int j = 0; j < V; j++) sum[i][j] = K::step(sum[i][j], load<Lane>(from + i * a_row + j * kVectorBytes), y[j]);
    }
  }
  constexpr int64_t lanes = Shape<K>::lanes;
  for (int i = 0; i < R; i++) {
    char* to = out + i * job.line.out_row * element;
    if (!K::narrows && cols == V * lanes) {
#pragma GCC unroll 4
      for (int j = 0; j < V; j++) save(to + j * kVectorBytes, sum[i][j]);
    } else {
      alignas(64) typename K::Sum values[V * lanes];
      static_assert(sizeof values == V * lanes * total);
#pragma GCC unroll 4
      for (int j = 0; j < V; j++) save(values + j * lanes, sum[i][j]);
      K::narrow_run(values, to, cols);
    }
  }
}

template <class K, int R>
inline void pick_strand(const Lanes& job, int64_t i) {
  constexpr int64_t unit = sizeof(typename K::Unit), element = sizeof(typename K::Element), lanes = Shape<K>::lanes;
  const char* a = static_cast<const char*>(job.line.a) + i * job.line.a_row * unit;
  const char* b = static_cast<const char*>(job.b);
  char* out = static_cast<char*>(job.line.out) + i * job.line.out_row * element;
  int64_t j = 0;
  for (; j + lanes < job.n; j += 2 * lanes) {
    const int64_t cols = job.n - j < 2 * lanes ? job.n - j : 2 * lanes;
    strand<K, R, 2>(job, a + j * unit, b + j * unit, out + j * element, cols);
  }
  if (j < job.n) strand<K, R, 1>(job, a + j * unit, b + j * unit, out + j * element, job.n - j);
}

template <class K>
void lanes(const Lanes& job) {
  constexpr int rows = 4;
  int64_t i = 0;
  for (; i + rows <= job.line.count; i += rows) pick_strand<K, rows>(job, i);
  for (; i < job.line.count; i++) pick_strand<K, 1>(job, i);
}

template <class K>
void widen(const void* elements, void* units, int64_t n) {
  K::widen(static_cast<const char*>(elements), static_cast<typename K::Unit*>(units), n);
}

template <class K>
constexpr conv_detail::Kernels kernels_of() {
  if constexpr (K::parts == 2)
    return {tiles<K>, nullptr, widen<K>};
  else
    return {tiles<K>, lanes<K>, widen<K>};
}
}  // namespace

// In the order of matmul_detail::Product.
extern const conv_detail::Kernels conv_kernels[] = {
    {nullptr, nullptr, nullptr}, kernels_of<Int8>(),      kernels_of<Int16>(),      kernels_of<Int32>(),
    kernels_of<Int64>(),         kernels_of<Float16>(),   kernels_of<Bfloat16>(),   kernels_of<Float32>(),
    kernels_of<Float64>(),       kernels_of<Complex64>(), kernels_of<Complex128>(),
};

}  // namespace bridge::BRIDGE_ISA_NS
