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

// ---- laws. A word stands for u = word / 2^32 as a float32 below 1, and x = 2 u - 1 in (-1, 1).
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

}  // namespace

extern const RandomTable random_table;
constexpr RandomTable random_table = {pairs, {uniform, normal, gumbel, laplace}};

}  // namespace bridge::pipeline::BRIDGE_ISA_NS
