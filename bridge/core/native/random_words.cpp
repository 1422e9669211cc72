#include "random_words.h"

#include "isa.h"

namespace bridge {
namespace pipeline {

#define BRIDGE_ISA_TABLE(name)           \
  namespace name {                       \
  extern const RandomTable random_table; \
  }
#if defined(__x86_64__)
BRIDGE_ISA_TABLE(isa_v2)
BRIDGE_ISA_TABLE(isa_v3)
BRIDGE_ISA_TABLE(isa_v4)
#elif defined(__aarch64__)
BRIDGE_ISA_TABLE(isa_neon)
#else
BRIDGE_ISA_TABLE(isa_generic)
#endif

}  // namespace pipeline

const pipeline::RandomTable& random_table() {
#if defined(__x86_64__)
  switch (isa()) {
    case Isa::v4: return pipeline::isa_v4::random_table;
    case Isa::v3: return pipeline::isa_v3::random_table;
    default: return pipeline::isa_v2::random_table;
  }
#elif defined(__aarch64__)
  return pipeline::isa_neon::random_table;
#else
  return pipeline::isa_generic::random_table;
#endif
}

RandomKey second_key(RandomKey key) {
  RandomKey result;
  random_table().pairs(key.k0, key.k1, UINT32_MAX, UINT32_MAX, 1, &result.k0, &result.k1);
  return result;
}

uint32_t word_at(RandomKey key, int64_t n, int64_t i) {
  const int64_t half = n / 2;
  uint32_t x[2];
  const auto count = [&](int64_t first, int64_t second) {
    random_table().pairs(key.k0, key.k1, static_cast<uint32_t>(first), static_cast<uint32_t>(second), 1, x, x + 1);
  };
  if (i < half) {
    count(i, n - half + i);
    return x[0];
  }
  if (n % 2 && i == half) {
    count(half, 0);
    return x[0];
  }
  count(i - (n - half), i);
  return x[1];
}

}  // namespace bridge
