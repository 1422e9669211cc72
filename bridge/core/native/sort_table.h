// What one SIMD build of the sorting networks offers (sort_isa.cpp), as plain data; see pipeline_table.h.
#pragma once
#include <cstdint>

namespace bridge::sorting {

struct Exchange { uint16_t low, high; };  // positions whose smaller key goes to `low`

// Columns of unsigned keys that stand side by side, sorted each for itself: exchanges[0] to [n - 1] one after the other.
// A row of the block has network_lanes(key size) keys; the block is aligned to 64 bytes.
using NetworkFn = void (*)(void* block, const Exchange* exchanges, int64_t n);
constexpr int64_t network_lanes(int64_t key_bytes) { return key_bytes == 8 ? 8 : 16; }

struct SortTable { NetworkFn network16, network32, network64; };

}  // namespace bridge::sorting
