// What the processor is asked beyond its SIMD level. A file of its own, so that tests can choose instead.
#include "isa.h"
#include "matmul_kernels.h"

namespace bridge {

// AMD executes vdpbf16ps at the rate of a float32 FMA: twice the products in the same time. Intel does not (measured on
// a Xeon, one thread, 1024 x 1024: 112 GFLOP/s against 174 by conversion), so there conversion wins.
bool bfloat16_pairs_pay() {
#if defined(__x86_64__)
  return has_avx512_bf16() && __builtin_cpu_is("amd");
#else
  return false;
#endif
}

}  // namespace bridge
