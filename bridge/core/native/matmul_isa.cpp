// The kernels of one SIMD level. Compiled once per level with its -march flags and BRIDGE_ISA_NS naming it; all that
// is here lives in that namespace, without the standard library, so that no two levels can share an inline function.
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

#include "matmul_kernels.h"

namespace bridge::BRIDGE_ISA_NS {
namespace {
// clang-format off: each builds on those before it
#include "matmul_vector.inc"
#include "matmul_kinds.inc"
#include "matmul_panels.inc"
#include "matmul_lines.inc"
// clang-format on

template <class K>
constexpr Kernels kernels_of() {
  return {.mr = Shape<K>::rows,
          .nr = Shape<K>::columns,
          .lanes = Shape<K>::lanes,
          .depth = kPanelDepth / int{sizeof(typename K::Unit)},
          .group = K::group,
          .element_bytes = sizeof(typename K::Element),
          .unit_bytes = sizeof(typename K::Unit),
          .sum_bytes = sizeof(typename K::Sum),
          .converts = K::converts,
          .narrows = K::narrows,
          .pack = pack<K>,
          .pack_a = pack<K>,
          .block = block<K>,
          .direct = direct<K>,
          .store = store<K>,
          .combine_rows = combine_rows<K>,
          .dot_columns = dot_columns<K>};
}
}  // namespace

// In the order of matmul_detail::Product.
extern const Kernels matmul_kernels[] = {
    kernels_of<Boolean>(), kernels_of<Int8>(),      kernels_of<Int16>(),      kernels_of<Int32>(),
    kernels_of<Int64>(),   kernels_of<Float16>(),   kernels_of<Bfloat16>(),   kernels_of<Float32>(),
    kernels_of<Float64>(), kernels_of<Complex64>(), kernels_of<Complex128>(),
};

}  // namespace bridge::BRIDGE_ISA_NS
