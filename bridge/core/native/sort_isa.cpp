// Sorting networks over columns, compiled once per ISA under the rules of pipeline_isa.cpp.
#include "sort_table.h"

namespace bridge::sorting::BRIDGE_ISA_NS {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class K>
static void network(void* block, const Exchange* exchanges, int64_t n) {
  constexpr int kRowBytes = sizeof(K) == 2 ? 32 : 64;  // network_lanes() keys
  constexpr int kBytes = kVectorBytes < kRowBytes ? kVectorBytes : kRowBytes, kParts = kRowBytes / kBytes;
  typedef K Keys __attribute__((vector_size(kBytes)));
  auto* parts = static_cast<Keys*>(block);
  for (int64_t i = 0; i < n; i++) {
    Keys *low = parts + exchanges[i].low * kParts, *high = parts + exchanges[i].high * kParts;
    for (int part = 0; part < kParts; part++) {
      const Keys a = low[part], b = high[part];
      const auto swapped = b < a;
      low[part] = swapped ? b : a;
      high[part] = swapped ? a : b;
    }
  }
}

}  // namespace

extern const SortTable sort_table;
constexpr SortTable sort_table = {network<uint16_t>, network<uint32_t>, network<uint64_t>};

}  // namespace bridge::sorting::BRIDGE_ISA_NS
