#include "sort_network.h"

#include "isa.h"

namespace bridge::sorting {

#define BRIDGE_ISA_TABLE(name)         \
  namespace name {                     \
  extern const SortTable sort_table;   \
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

namespace {

const SortTable& table() {
#if defined(__x86_64__)
  switch (isa()) {
    case Isa::v4: return isa_v4::sort_table;
    case Isa::v3: return isa_v3::sort_table;
    default: return isa_v2::sort_table;
  }
#elif defined(__aarch64__)
  return isa_neon::sort_table;
#else
  return isa_generic::sort_table;
#endif
}

}  // namespace

Network::Network(int64_t length, size_t key_bytes)
    : fn_(key_bytes == 2   ? table().network16
          : key_bytes == 4 ? table().network32
                           : table().network64) {
  for (int64_t p = 1; p < length; p *= 2)
    for (int64_t k = p; k >= 1; k /= 2)
      for (int64_t j = k % p; j + k < length; j += 2 * k)
        for (int64_t i = j; i < j + k && i + k < length; ++i)
          if (i / (2 * p) == (i + k) / (2 * p))
            exchanges_.push_back({static_cast<uint16_t>(i), static_cast<uint16_t>(i + k)});
}

}  // namespace bridge::sorting
