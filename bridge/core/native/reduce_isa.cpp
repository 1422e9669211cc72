// Reductions of strips, compiled once per ISA under the rules of pipeline_isa.cpp.
//
// The order of the additions depends on n and the vector width only, never on threads or on where a strip lies.
#include "reduce_table.h"

namespace bridge::pipeline::BRIDGE_ISA_NS {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
constexpr int kUnroll = 4;

struct C64 {
  using Real = float;
  float re, im;
};
struct C128 {
  using Real = double;
  double re, im;
};

// `Lanes` values of T; loaded from any address.
template <class T, int Lanes>
struct Vector {
  typedef T type __attribute__((vector_size(Lanes * sizeof(T))));
  typedef T unaligned __attribute__((vector_size(Lanes * sizeof(T)), aligned(1), may_alias));
  static type load(const T* p) { return *reinterpret_cast<const unaligned*>(p); }
};

// Whether a comparison holds in any lane.
template <class Lanes>
static bool any(const Lanes& lanes) {
  uint64_t words[sizeof(Lanes) / 8], bits = 0;
  __builtin_memcpy(words, &lanes, sizeof words);
  for (const uint64_t word : words) bits |= word;
  return bits != 0;
}

template <class T>
constexpr bool kFloating = false;
template <>
constexpr bool kFloating<float> = true;
template <>
constexpr bool kFloating<double> = true;

// ---- sum and prod of real numbers, accumulated in A
struct Plus {  // -0 is the identity that keeps the sign of a sum of negative zeros
  template <class A>
  static constexpr A identity = kFloating<A> ? A(-0.0) : A(0);
  template <class V>
  static V f(V a, V b) {
    return a + b;
  }
};
struct Times {
  template <class A>
  static constexpr A identity = A(1);
  template <class V>
  static V f(V a, V b) {
    return a * b;
  }
};

template <class Op, class A, class T>
static A total(const T* x, int64_t n) {
  constexpr int lanes = kVectorBytes / sizeof(A);
  using VA = typename Vector<A, lanes>::type;
  A result = Op::template identity<A>;
  int64_t i = 0;
  if (n >= lanes) {
    VA sum[kUnroll];
    for (auto& s : sum) s = Op::template identity<A> - VA{};
    for (; i + kUnroll * lanes <= n; i += kUnroll * lanes)
      for (int u = 0; u < kUnroll; u++)
        sum[u] = Op::f(sum[u], __builtin_convertvector((Vector<T, lanes>::load(x + i + u * lanes)), VA));
    for (; i + lanes <= n; i += lanes)
      sum[0] = Op::f(sum[0], __builtin_convertvector((Vector<T, lanes>::load(x + i)), VA));
    const VA all = Op::f(Op::f(sum[0], sum[1]), Op::f(sum[2], sum[3]));
    A lane[lanes];
    __builtin_memcpy(lane, &all, sizeof lane);
    for (int width = lanes / 2; width > 0; width /= 2)
      for (int k = 0; k < width; k++) lane[k] = Op::f(lane[k], lane[k + width]);
    result = lane[0];
  }
  for (; i < n; i++) result = Op::f(result, static_cast<A>(x[i]));
  return result;
}

template <class Op, class A, class T>
static void rows_total(void* accumulators, int64_t*, const void* values, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++)
    static_cast<A*>(accumulators)[r] = total<Op, A>(static_cast<const T*>(values) + r * n, n);
}
template <class Op, class A, class T>
static void fold_total(void* accumulators, int64_t*, const void* values, int64_t n, int64_t position) {
  auto* __restrict a = static_cast<A*>(accumulators);
  auto* x = static_cast<const T*>(values);
  if (position == 0) {
    for (int64_t i = 0; i < n; i++) a[i] = static_cast<A>(x[i]);
  } else {
    for (int64_t i = 0; i < n; i++) a[i] = Op::f(a[i], static_cast<A>(x[i]));
  }
}

// ---- sum and prod of complex numbers
struct ComplexPlus {
  static C128 identity() { return {-0.0, -0.0}; }
  static C128 f(C128 a, C128 b) { return {a.re + b.re, a.im + b.im}; }
};
struct ComplexTimes {
  static C128 identity() { return {1, 0}; }
  static C128 f(C128 a, C128 b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
};
template <class Op, class T>
static void rows_complex(void* accumulators, int64_t*, const void* values, int64_t rows, int64_t n) {
  auto* x = static_cast<const T*>(values);
  for (int64_t r = 0; r < rows; r++, x += n) {
    C128 sum[4] = {Op::identity(), Op::identity(), Op::identity(), Op::identity()};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
      for (int u = 0; u < 4; u++) sum[u] = Op::f(sum[u], {x[i + u].re, x[i + u].im});
    for (; i < n; i++) sum[0] = Op::f(sum[0], {x[i].re, x[i].im});
    static_cast<C128*>(accumulators)[r] = n < 4 ? sum[0] : Op::f(Op::f(sum[0], sum[1]), Op::f(sum[2], sum[3]));
  }
}
template <class Op, class T>
static void fold_complex(void* accumulators, int64_t*, const void* values, int64_t n, int64_t position) {
  auto* a = static_cast<C128*>(accumulators);
  auto* x = static_cast<const T*>(values);
  for (int64_t i = 0; i < n; i++) a[i] = position == 0 ? C128{x[i].re, x[i].im} : Op::f(a[i], {x[i].re, x[i].im});
}

// ---- max and min: `better` orders strictly, a NaN is better than every number and no NaN is better than a NaN
template <class T>
static bool is_nan(T x) {
  if constexpr (kFloating<T>) return x != x;
  return false;
}
static bool is_nan(C64 x) { return x.re != x.re || x.im != x.im; }
static bool is_nan(C128 x) { return x.re != x.re || x.im != x.im; }

struct Most {
  template <class V>
  static auto test(V a, V b) {
    return a > b;
  }
  template <class T>
  static bool better(T a, T b) {
    return a > b || (is_nan(a) && !is_nan(b));
  }
  static bool better(C64 a, C64 b) { return lexicographic(a, b); }
  static bool better(C128 a, C128 b) { return lexicographic(a, b); }
  template <class T>
  static bool lexicographic(T a, T b) {
    if (is_nan(a) || is_nan(b)) return is_nan(a) && !is_nan(b);
    return a.re > b.re || (a.re == b.re && a.im > b.im);
  }
};
struct Least {
  template <class V>
  static auto test(V a, V b) {
    return a < b;
  }
  template <class T>
  static bool better(T a, T b) {
    return a < b || (is_nan(a) && !is_nan(b));
  }
  static bool better(C64 a, C64 b) { return lexicographic(a, b); }
  static bool better(C128 a, C128 b) { return lexicographic(a, b); }
  template <class T>
  static bool lexicographic(T a, T b) {
    if (is_nan(a) || is_nan(b)) return is_nan(a) && !is_nan(b);
    return a.re < b.re || (a.re == b.re && a.im < b.im);
  }
};

template <class Op, class T>
static T extreme(const T* x, int64_t n) {
  T result = x[0];
  int64_t i = 1;
  constexpr int lanes = kVectorBytes / sizeof(T);
  using V = Vector<T, lanes>;
  if (n >= lanes) {
    typename V::type best[kUnroll];
    for (auto& b : best) b = V::load(x);
    auto strange = best[0] != best[0];
    for (i = 0; i + kUnroll * lanes <= n; i += kUnroll * lanes)
      for (int u = 0; u < kUnroll; u++) {
        const auto value = V::load(x + i + u * lanes);
        best[u] = Op::test(value, best[u]) ? value : best[u];
        if constexpr (kFloating<T>) strange |= value != value;
      }
    for (; i + lanes <= n; i += lanes) {
      const auto value = V::load(x + i);
      best[0] = Op::test(value, best[0]) ? value : best[0];
      if constexpr (kFloating<T>) strange |= value != value;
    }
    for (int u = 1; u < kUnroll; u++) best[0] = Op::test(best[u], best[0]) ? best[u] : best[0];
    T lane[lanes];
    __builtin_memcpy(lane, &best[0], sizeof lane);
    for (int k = 0; k < lanes; k++) result = Op::better(lane[k], result) ? lane[k] : result;
    if constexpr (kFloating<T>) {
      if (any(strange)) return __builtin_nanf("");
    }
  }
  for (; i < n; i++) result = Op::better(x[i], result) ? x[i] : result;
  return result;
}
template <class Op>
static C64 extreme(const C64* x, int64_t n) {
  C64 result = x[0];
  for (int64_t i = 1; i < n; i++) result = Op::better(x[i], result) ? x[i] : result;
  return result;
}
template <class Op>
static C128 extreme(const C128* x, int64_t n) {
  C128 result = x[0];
  for (int64_t i = 1; i < n; i++) result = Op::better(x[i], result) ? x[i] : result;
  return result;
}

template <class Op, class T>
static void rows_extreme(void* accumulators, int64_t*, const void* values, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r++)
    static_cast<T*>(accumulators)[r] = extreme<Op>(static_cast<const T*>(values) + r * n, n);
}
template <class Op, class T>
static void fold_extreme(void* accumulators, int64_t*, const void* values, int64_t n, int64_t position) {
  auto* __restrict a = static_cast<T*>(accumulators);
  auto* x = static_cast<const T*>(values);
  if (position == 0) {
    for (int64_t i = 0; i < n; i++) a[i] = x[i];
  } else {
    for (int64_t i = 0; i < n; i++) a[i] = Op::better(x[i], a[i]) ? x[i] : a[i];
  }
}

// ---- argmax and argmin: the first place of the extreme
template <class T>
static bool same(T a, T b) {
  return a == b || (is_nan(a) && is_nan(b));
}
static bool same(C64 a, C64 b) { return (a.re == b.re && a.im == b.im) || (is_nan(a) && is_nan(b)); }
static bool same(C128 a, C128 b) { return (a.re == b.re && a.im == b.im) || (is_nan(a) && is_nan(b)); }

// Index of the first x[i] that is the same as `best`, which is one of them.
template <class T>
static int64_t place_of(T best, const T* x) {
  int64_t i = 0;
  while (!same(x[i], best)) i++;
  return i;
}
template <class T>
static int64_t place_of(T best, const T* x, int64_t n) {
  constexpr int lanes = kVectorBytes / sizeof(T);
  using V = Vector<T, lanes>;
  int64_t i = 0;
  if (!is_nan(best)) {
    const typename V::type wanted = best - typename V::type{};
    for (; i + kUnroll * lanes <= n; i += kUnroll * lanes) {
      auto found = V::load(x + i) == wanted;
      for (int u = 1; u < kUnroll; u++) found |= V::load(x + i + u * lanes) == wanted;
      if (any(found)) break;
    }
  }
  return i + place_of(best, x + i);
}
static int64_t place_of(C64 best, const C64* x, int64_t) { return place_of(best, x); }
static int64_t place_of(C128 best, const C128* x, int64_t) { return place_of(best, x); }

template <class Op, class T>
static void rows_place(void* accumulators, int64_t* index, const void* values, int64_t rows, int64_t n) {
  auto* x = static_cast<const T*>(values);
  for (int64_t r = 0; r < rows; r++, x += n) {
    index[r] = place_of(extreme<Op>(x, n), x, n);
    static_cast<T*>(accumulators)[r] = x[index[r]];
  }
}
template <class Op, class T>
static void fold_place(void* accumulators, int64_t* __restrict index, const void* values, int64_t n, int64_t position) {
  auto* __restrict a = static_cast<T*>(accumulators);
  auto* x = static_cast<const T*>(values);
  for (int64_t i = 0; i < n; i++) {
    const bool wins = position == 0 || Op::better(x[i], a[i]);
    a[i] = wins ? x[i] : a[i];
    index[i] = wins ? position : index[i];
  }
}

// ---- all and any
template <class T>
static uint8_t truth(T x) {
  return x != 0;
}
static uint8_t truth(C64 x) { return (x.re != 0) | (x.im != 0); }
static uint8_t truth(C128 x) { return (x.re != 0) | (x.im != 0); }

template <bool All, class T>
static void rows_truth(void* accumulators, int64_t*, const void* values, int64_t rows, int64_t n) {
  auto* x = static_cast<const T*>(values);
  for (int64_t r = 0; r < rows; r++, x += n) {
    int result = All;
    for (int64_t i = 0; i < n; i++) result = All ? result & truth(x[i]) : result | truth(x[i]);
    static_cast<uint8_t*>(accumulators)[r] = static_cast<uint8_t>(result);
  }
}
template <bool All, class T>
static void fold_truth(void* accumulators, int64_t*, const void* values, int64_t n, int64_t position) {
  auto* __restrict a = static_cast<uint8_t*>(accumulators);
  auto* x = static_cast<const T*>(values);
  if (position == 0) {
    for (int64_t i = 0; i < n; i++) a[i] = truth(x[i]);
  } else {
    for (int64_t i = 0; i < n; i++) a[i] = static_cast<uint8_t>(All ? a[i] & truth(x[i]) : a[i] | truth(x[i]));
  }
}

// ---- the table (the numbers are those of enum Reduce)
enum { kSum = 1, kProd, kMax, kMin, kAll, kAny, kArgmax, kArgmin };

template <class T>
static constexpr void fill_order(ReduceTable& table, DType dtype) {
  const int t = static_cast<int>(dtype);
  table.rows[kMax][t] = rows_extreme<Most, T>;
  table.fold[kMax][t] = fold_extreme<Most, T>;
  table.rows[kMin][t] = rows_extreme<Least, T>;
  table.fold[kMin][t] = fold_extreme<Least, T>;
  table.rows[kAll][t] = rows_truth<true, T>;
  table.fold[kAll][t] = fold_truth<true, T>;
  table.rows[kAny][t] = rows_truth<false, T>;
  table.fold[kAny][t] = fold_truth<false, T>;
  table.rows[kArgmax][t] = rows_place<Most, T>;
  table.fold[kArgmax][t] = fold_place<Most, T>;
  table.rows[kArgmin][t] = rows_place<Least, T>;
  table.fold[kArgmin][t] = fold_place<Least, T>;
}
template <class T, class A>
static constexpr void fill_real(ReduceTable& table, DType dtype) {
  const int t = static_cast<int>(dtype);
  table.rows[kSum][t] = rows_total<Plus, A, T>;
  table.fold[kSum][t] = fold_total<Plus, A, T>;
  table.rows[kProd][t] = rows_total<Times, A, T>;
  table.fold[kProd][t] = fold_total<Times, A, T>;
  fill_order<T>(table, dtype);
}
template <class T>
static constexpr void fill_complex(ReduceTable& table, DType dtype) {
  const int t = static_cast<int>(dtype);
  table.rows[kSum][t] = rows_complex<ComplexPlus, T>;
  table.fold[kSum][t] = fold_complex<ComplexPlus, T>;
  table.rows[kProd][t] = rows_complex<ComplexTimes, T>;
  table.fold[kProd][t] = fold_complex<ComplexTimes, T>;
  fill_order<T>(table, dtype);
}

// Signed integers are read signed and added unsigned: wrapping.
static constexpr ReduceTable make_reduce_table() {
  ReduceTable table{};
  fill_real<uint8_t, uint64_t>(table, DType::bool_);
  fill_real<uint8_t, uint64_t>(table, DType::uint8);
  fill_real<uint16_t, uint64_t>(table, DType::uint16);
  fill_real<uint32_t, uint64_t>(table, DType::uint32);
  fill_real<uint64_t, uint64_t>(table, DType::uint64);
  fill_real<int8_t, uint64_t>(table, DType::int8);
  fill_real<int16_t, uint64_t>(table, DType::int16);
  fill_real<int32_t, uint64_t>(table, DType::int32);
  fill_real<int64_t, uint64_t>(table, DType::int64);
  fill_real<float, double>(table, DType::float32);
  fill_real<double, double>(table, DType::float64);
  fill_complex<C64>(table, DType::complex64);
  fill_complex<C128>(table, DType::complex128);
  return table;
}

}  // namespace

extern const ReduceTable reduce_table;
constexpr ReduceTable reduce_table = make_reduce_table();

}  // namespace bridge::pipeline::BRIDGE_ISA_NS
