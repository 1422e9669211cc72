// Random words and what is made of them, compiled once per ISA like pipeline_isa.cpp: nothing here may be shared between
// two levels, and every level gives the same bits.
#include "isa_intrinsics.h"
#include "random_table.h"

namespace bridge::pipeline::BRIDGE_ISA_NS {
namespace {

#include "pipeline_vector.inc"

#include "pipeline_exact.inc"

// ---- Threefry-2x32, 20 rounds: Salmon, Moraes, Dror, Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3"
template <int Bits>
BRIDGE_INLINE U rotated(U x) {
  return x << Bits | x >> (32 - Bits);
}
constexpr int kAtOnce = 4;  // vectors: the rounds of one wait for each other

struct Pair { U x0[kAtOnce], x1[kAtOnce]; };
template <int Bits>
BRIDGE_INLINE void mix(Pair& p) {
  for (int k = 0; k < kAtOnce; k++) {
    p.x0[k] += p.x1[k];
    p.x1[k] = rotated<Bits>(p.x1[k]) ^ p.x0[k];
  }
}
BRIDGE_INLINE void inject(Pair& p, uint32_t a, uint32_t b) {
  for (int k = 0; k < kAtOnce; k++) {
    p.x0[k] += a;
    p.x1[k] += b;
  }
}
BRIDGE_INLINE void threefry(Pair& p, uint32_t k0, uint32_t k1) {
  const uint32_t k2 = k0 ^ k1 ^ 0x1bd11bdau;
  const auto odd = [&p]() __attribute__((always_inline)) { mix<13>(p), mix<15>(p), mix<26>(p), mix<6>(p); };
  const auto even = [&p]() __attribute__((always_inline)) { mix<17>(p), mix<29>(p), mix<16>(p), mix<24>(p); };
  inject(p, k0, k1);
  odd(), inject(p, k1, k2 + 1);
  even(), inject(p, k2, k0 + 2);
  odd(), inject(p, k0, k1 + 3);
  even(), inject(p, k1, k2 + 4);
  odd(), inject(p, k2, k0 + 5);
}

constexpr int64_t kStep = kAtOnce * kLanes;

void pairs(uint32_t k0, uint32_t k1, uint32_t first, uint32_t second, int64_t n, uint32_t* x0, uint32_t* x1) {
  U lane;
  for (unsigned k = 0; k < kLanes; k++) lane[k] = k;
  for (int64_t i = 0; i < n; i += kStep) {
    Pair p;
    for (int k = 0; k < kAtOnce; k++) {
      const U at = lane + static_cast<uint32_t>(i + k * kLanes);
      p.x0[k] = at + first;
      p.x1[k] = at + second;
    }
    threefry(p, k0, k1);
    const int64_t left = n - i < kStep ? n - i : kStep;
    if (left == kStep) {
      __builtin_memcpy(x0 + i, p.x0, sizeof p.x0);
      __builtin_memcpy(x1 + i, p.x1, sizeof p.x1);
    } else {
      __builtin_memcpy(x0 + i, p.x0, static_cast<size_t>(4 * left));
      __builtin_memcpy(x1 + i, p.x1, static_cast<size_t>(4 * left));
    }
  }
}

// ---- laws of 32 bits. A word stands for u = word / 2^32 as a float32 below 1, and x = 2 u - 1 in (-1, 1).
BRIDGE_INLINE V unit(U word) {
  const V u = __builtin_convertvector(word, V) * 0x1p-32f;
  return choose(u < 1.0f, u, splat(0x1.fffffep-1f));
}
BRIDGE_INLINE V balanced(U word) {
  const V u = unit(word);
  return (u + u) - 0x1.fffffep-1f;
}
BRIDGE_INLINE V law_uniform(U word) { return unit(word); }
BRIDGE_INLINE D normal_of(D x) { return 1.41421356237309504880 * exact_erfinv(x); }
BRIDGE_INLINE V law_normal(U word) { return in_double(balanced(word), normal_of); }
BRIDGE_INLINE D gumbel_of(D u) { return -exact_log(-exact_log(u)); }
BRIDGE_INLINE V law_gumbel(U word) {
  const V u = unit(word);
  return in_double(choose(u > 0.0f, u, splat(0x1p-33f)), gumbel_of);
}
BRIDGE_INLINE D laplace_of(D x) {
  const D magnitude = exact_log(1.0 - absolute(x));
  return choose(x < 0.0, -magnitude, magnitude);
}
BRIDGE_INLINE V law_laplace(U word) { return in_double(balanced(word), laplace_of); }

template <class F>
BRIDGE_INLINE void each(const uint32_t* words, int64_t n, float* out, F f) {
  for (int64_t i = 0; i < n; i += kLanes) {
    U word{};
    if (n - i >= kLanes) {
      __builtin_memcpy(&word, words + i, sizeof word);
      store(out + i, f(word));
    } else {
      const auto bytes = static_cast<size_t>(4 * (n - i));
      __builtin_memcpy(&word, words + i, bytes);
      const V x = f(word);
      __builtin_memcpy(out + i, &x, bytes);
    }
  }
}
#define BRIDGE_LAW(name)                                                        \
  void name(const uint32_t* words, int64_t n, float* out) {                     \
    each(words, n, out, [](U word) __attribute__((always_inline)) { return law_##name(word); }); \
  }
BRIDGE_LAW(uniform)
BRIDGE_LAW(normal)
BRIDGE_LAW(gumbel)
BRIDGE_LAW(laplace)

// ---- laws of 64 bits, of which 52 or 53 are kept. Those that must not meet 0 or 1 take the middle of one of 2^52 steps.
typedef uint32_t HalfU __attribute__((vector_size(2 * kLanes)));

BRIDGE_INLINE D whole(UL x) { return (D)(x | 0x4330000000000000u) - 4503599627370496.0; }  // below 2^52
BRIDGE_INLINE D middle(UL high, UL low) { return whole(high << 20 | low >> 12) + 0.5; }
BRIDGE_INLINE D wide_balanced(UL high, UL low) { return middle(high, low) * 0x1p-51 - 1.0; }
BRIDGE_INLINE D wide_law_uniform(UL high, UL low) { return whole(high) * 0x1p-32 + whole(low >> 11) * 0x1p-53; }
BRIDGE_INLINE D wide_law_normal(UL high, UL low) {
  return 1.41421356237309504880 * exact_erfinv_wide(wide_balanced(high, low));
}
BRIDGE_INLINE D wide_law_gumbel(UL high, UL low) {
  return -exact_log_wide(-exact_log_wide(middle(high, low) * 0x1p-52));
}
BRIDGE_INLINE D wide_law_laplace(UL high, UL low) {
  const D x = wide_balanced(high, low), magnitude = exact_log_wide(1.0 - absolute(x));
  return choose(x < 0.0, -magnitude, magnitude);
}

template <class F>
BRIDGE_INLINE void each_wide(const uint32_t* high, const uint32_t* low, int64_t n, double* out, F f) {
  constexpr int64_t step = kLanes / 2;
  for (int64_t i = 0; i < n; i += step) {
    HalfU h{}, l{};
    if (n - i >= step) {
      __builtin_memcpy(&h, high + i, sizeof h);
      __builtin_memcpy(&l, low + i, sizeof l);
      const D x = f(__builtin_convertvector(h, UL), __builtin_convertvector(l, UL));
      __builtin_memcpy(out + i, &x, sizeof x);
    } else {
      const auto count = static_cast<size_t>(n - i);
      __builtin_memcpy(&h, high + i, 4 * count);
      __builtin_memcpy(&l, low + i, 4 * count);
      const D x = f(__builtin_convertvector(h, UL), __builtin_convertvector(l, UL));
      __builtin_memcpy(out + i, &x, 8 * count);
    }
  }
}
#define BRIDGE_WIDE_LAW(name)                                                                   \
  void wide_##name(const uint32_t* high, const uint32_t* low, int64_t n, double* out) {         \
    each_wide(high, low, n, out,                                                                \
              [](UL h, UL l) __attribute__((always_inline)) { return wide_law_##name(h, l); }); \
  }
BRIDGE_WIDE_LAW(uniform)
BRIDGE_WIDE_LAW(normal)
BRIDGE_WIDE_LAW(gumbel)
BRIDGE_WIDE_LAW(laplace)

}  // namespace

extern const RandomTable random_table;
constexpr RandomTable random_table = {
    pairs, {uniform, normal, gumbel, laplace}, {wide_uniform, wide_normal, wide_gumbel, wide_laplace}};

}  // namespace bridge::pipeline::BRIDGE_ISA_NS
