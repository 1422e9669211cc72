// bfloat16 by the instructions made for it, sums in float32: vdpbf16ps (two steps of k at a time) and the tiles of AMX
// (32 steps of k, 16 rows and 16 columns at a time). Compiled with -mavx512bf16 on top of v4. Both take subnormal inputs
// as zero and round the products of a pair in their own way, so sums differ in the last bits from matmul_isa.cpp's.
#define BRIDGE_ISA_NS isa_v4_bf16

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "matmul_kernels.h"

namespace bridge::BRIDGE_ISA_NS {
namespace {
// clang-format off: each builds on those before it
#include "matmul_vector.inc"
#include "matmul_kinds.inc"
#include "matmul_panels.inc"
// clang-format on

struct Pairs {  // a unit is two neighbours of k, the first in the low half
  using Element = uint16_t;
  using Unit = uint32_t;
  using Sum = float;
  using Lane = uint32_t;
  using SumLane = float;
  static constexpr int parts = 1, group = 2;
  static constexpr bool converts = false, narrows = true;  // k contiguous: memory already holds units
  static Vec<float> step(Vec<float> sum, Vec<uint32_t> a, Vec<uint32_t> b) {
    // _mm512_dpbf16_ps, in words that clang 16 compiles: its optimiser never ends on casts to a vector of bfloat16.
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
  }
  static Vec<float> add(Vec<float> x, Vec<float> y) { return x + y; }
  static void widen(const char* from, uint32_t* to, int64_t n) {
    __builtin_memcpy(to, from, static_cast<size_t>(n) * 2);
    if (n % 2) to[n / 2] = load_one<uint16_t>(from + (n - 1) * 2);
  }
  static void gather(const char* from, int64_t step, uint32_t* to, int64_t n) {
    for (int64_t i = 0; i < n; i += 2) {
      const uint32_t high = i + 1 < n ? load_one<uint16_t>(from + (i + 1) * step) : 0;
      to[i / 2] = load_one<uint16_t>(from + i * step) | high << 16;
    }
  }
  static uint16_t narrow(float x) { return narrow_bfloat16(x); }
  static void narrow_run(const float* from, char* to, int64_t n) {
    for (int64_t i = 0; i < n; i++) save(to + 2 * i, narrow(from[i]));
  }
};

// Lanes contiguous: two rows are zipped into one row of units.
void zip_runs(const Pack& job) {
  const char* from = static_cast<const char*>(job.source);
  char* to = static_cast<char*>(job.panel);
  for (int64_t p = 0; p < job.k; p += 2, from += 4 * job.k_stride, to += 4 * job.pitch) {
    const bool odd = p + 1 == job.k;
    for (int64_t lane = 0; lane < job.width; lane += 16) {
      const int64_t rest = job.lanes - lane, room = job.width - lane;
      const __mmask16 used = static_cast<__mmask16>(rest >= 16 ? 0xffff : rest > 0 ? (1 << rest) - 1 : 0);
      const __mmask16 kept = static_cast<__mmask16>(room >= 16 ? 0xffff : (1 << room) - 1);
      const __m256i low = _mm256_maskz_loadu_epi16(used, from + 2 * lane);
      const __m256i high = _mm256_maskz_loadu_epi16(odd ? __mmask16{0} : used, from + 2 * (job.k_stride + lane));
      const __m512i units =
          _mm512_or_si512(_mm512_maskz_cvtepu16_epi32(0xffff, low),
                          _mm512_maskz_slli_epi32(0xffff, _mm512_maskz_cvtepu16_epi32(0xffff, high), 16));
      _mm512_mask_storeu_epi32(to + 4 * lane, kept, units);
    }
  }
}

void pack_pairs(const Pack& job) { job.lane_stride == 1 ? zip_runs(job) : pack_lanes<Pairs>(job); }

// ---- AMX ---------------------------------------------------------------------------------------------------
//
// Tile registers hold 16 rows of 64 bytes: of a, 32 steps of k a row; of b, 16 pairs of steps, 16 columns each; of c, 16
// sums a row. A block of 32 x 32 sums takes four registers, and two each for a and b.

struct Tiles : Pairs {
  static constexpr int steps = 32;  // of k in a unit: 64 bytes of one lane
  static constexpr int side = 32;  // rows and columns of a block
  static constexpr int depth = 16;  // units: a panel of a is 32 KiB
  static constexpr int64_t unit_bytes = 64, panel_bytes = side * unit_bytes;  // of one unit of all lanes
};

struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Panels of b: the pairs of vdpbf16ps, filled up with zeros to whole units.
void pack_tiles_b(const Pack& job) {
  pack_pairs(job);
  const int64_t pairs = (job.k + 1) / 2, whole = (job.k + Tiles::steps - 1) / Tiles::steps * (Tiles::steps / 2);
  __builtin_memset(static_cast<uint32_t*>(job.panel) + pairs * job.pitch, 0,
                   static_cast<size_t>((whole - pairs) * job.pitch) * 4);
}

// Panels of a: 64 bytes of each row in turn.
void pack_tiles_a(const Pack& job) {
  for (int64_t lane = 0; lane < job.width; lane++) {
    const char* from = static_cast<const char*>(job.source) + lane * job.lane_stride * 2;
    char* to = static_cast<char*>(job.panel) + lane * Tiles::unit_bytes;
    for (int64_t p = 0; p < job.k; p += Tiles::steps, to += Tiles::panel_bytes) {
      const int64_t rest = job.k - p, steps = lane >= job.lanes ? 0 : rest < Tiles::steps ? rest : Tiles::steps;
      if (steps < Tiles::steps) __builtin_memset(to, 0, Tiles::unit_bytes);
      if (job.k_stride == 1)
        __builtin_memcpy(to, from + p * 2, static_cast<size_t>(steps) * 2);
      else
        for (int64_t i = 0; i < steps; i++) save(to + 2 * i, load_one<uint16_t>(from + (p + i) * job.k_stride * 2));
    }
  }
}

__attribute__((target("amx-tile,amx-bf16"))) void multiply_tiles(int64_t k, const char* a, const char* b, float* sums,
                                                                 bool first) {
  constexpr int64_t row = Tiles::side * sizeof(float), half = 16 * row;  // bytes of a row and of half the rows of sums
  char* c = reinterpret_cast<char*>(sums);
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, c, row);
    _tile_loadd(1, c + 64, row);
    _tile_loadd(2, c + half, row);
    _tile_loadd(3, c + half + 64, row);
  }
  for (int64_t p = 0; p < k; p++, a += Tiles::panel_bytes, b += Tiles::panel_bytes) {
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, 128);
    _tile_loadd(7, b + 64, 128);
    _tile_loadd(5, a + 1024, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, row);
  _tile_stored(1, c + 64, row);
  _tile_stored(2, c + half, row);
  _tile_stored(3, c + half + 64, row);
}

__attribute__((target("amx-tile,amx-bf16"))) void block_tiles(const Block& job) {
  constexpr int64_t side = Tiles::side;
  alignas(64) float scratch[side * side];
  const TileShapes shapes;
  _tile_loadconfig(&shapes);
  for (int64_t i = 0; i < job.rows; i += side) {
    for (int64_t j = 0; j < job.cols; j += side) {
      float* sums = scratch;
      if (job.partial) sums = static_cast<float*>(job.partial) + (i / side * job.partial_row + j / side) * side * side;
      multiply_tiles(job.k, static_cast<const char*>(job.a) + i * job.k * Tiles::unit_bytes,
                     static_cast<const char*>(job.b) + j * job.k * Tiles::unit_bytes, sums, job.first);
      if (!job.last) continue;
      char* c = static_cast<char*>(job.c) + (i * job.row_stride + j * job.col_stride) * 2;
      store<Pairs>(sums, side, c, job.row_stride, job.col_stride, job.rows - i < side ? job.rows - i : side,
                   job.cols - j < side ? job.cols - j : side);
    }
  }
  _tile_release();  // so that the thread is not switched with eight kilobytes of registers
}
}  // namespace

// In the order of Bfloat16, from pairs on.
extern const Kernels matmul_kernels[] = {{.mr = Shape<Pairs>::rows,
                                          .nr = Shape<Pairs>::columns,
                                          .lanes = Shape<Pairs>::lanes,
                                          .depth = kPanelDepth / int{sizeof(Pairs::Unit)},
                                          .group = Pairs::group,
                                          .element_bytes = sizeof(Pairs::Element),
                                          .unit_bytes = sizeof(Pairs::Unit),
                                          .sum_bytes = sizeof(Pairs::Sum),
                                          .converts = Pairs::converts,
                                          .narrows = Pairs::narrows,
                                          .pack = pack_pairs,
                                          .pack_a = pack_pairs,
                                          .block = block<Pairs>,
                                          .direct = nullptr,
                                          .store = store<Pairs>,
                                          .combine_rows = nullptr,
                                          .dot_columns = nullptr},
                                         {.mr = Tiles::side,
                                          .nr = Tiles::side,
                                          .lanes = 16,
                                          .depth = Tiles::depth,
                                          .group = Tiles::steps,
                                          .element_bytes = sizeof(Pairs::Element),
                                          .unit_bytes = Tiles::unit_bytes,
                                          .sum_bytes = sizeof(float),
                                          .converts = false,
                                          .narrows = true,
                                          .pack = pack_tiles_b,
                                          .pack_a = pack_tiles_a,
                                          .block = block_tiles,
                                          .direct = nullptr,
                                          .store = store<Pairs>,
                                          .combine_rows = nullptr,
                                          .dot_columns = nullptr}};

}  // namespace bridge::BRIDGE_ISA_NS
