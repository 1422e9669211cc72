// bfloat16 by vdpbf16ps: two steps of k in one instruction, sums in float32. Compiled with -mavx512bf16 on top of v4.
// The instruction takes subnormal inputs as zero and rounds each pair of products in its own way, so sums differ in
// the last bits from those of matmul_isa.cpp.
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
}  // namespace

extern const Kernels matmul_kernels[] = {{.mr = Shape<Pairs>::rows,
                                          .nr = Shape<Pairs>::columns,
                                          .lanes = Shape<Pairs>::lanes,
                                          .group = Pairs::group,
                                          .element_bytes = sizeof(Pairs::Element),
                                          .unit_bytes = sizeof(Pairs::Unit),
                                          .sum_bytes = sizeof(Pairs::Sum),
                                          .converts = Pairs::converts,
                                          .narrows = Pairs::narrows,
                                          .pack = pack_pairs,
                                          .block = block<Pairs>,
                                          .direct = nullptr,
                                          .store = store<Pairs>,
                                          .combine_rows = nullptr,
                                          .dot_columns = nullptr}};

}  // namespace bridge::BRIDGE_ISA_NS
