// Dense matrix product of the CPU backend.
#pragma once
#include <cstdint>

#include "dtypes.h"

namespace bridge {

struct Matrix {
  const void* data;
  int64_t row_stride, col_stride;   // elements; any sign, 0 included
};

// c[m, n] = a[m, k] @ b[k, n]; c is dense row-major, of the same dtype and never overlaps a or b. k == 0 writes zeros.
// float16 and bfloat16 accumulate in float32, bool is or-of-ands, integers wrap. The GIL need not be held. Throws std::bad_alloc only.
void matmul(DType dtype, int64_t m, int64_t n, int64_t k, Matrix a, Matrix b, void* c);

}  // namespace bridge
