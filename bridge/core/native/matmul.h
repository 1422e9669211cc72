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

// `count` products, one after another in c; operands(i, &a, &b) says which. They are shared out among the threads when each is
// too small for that.
void matmul_batch(DType dtype, int64_t count, int64_t m, int64_t n, int64_t k, void* c,
                  void (*operands)(void* context, int64_t i, Matrix* a, Matrix* b), void* context);
template <class F>
void matmul_batch(DType dtype, int64_t count, int64_t m, int64_t n, int64_t k, void* c, const F& operands) {
  matmul_batch(
      dtype, count, m, n, k, c, [](void* f, int64_t i, Matrix* a, Matrix* b) { (*static_cast<const F*>(f))(i, a, b); },
      const_cast<void*>(static_cast<const void*>(&operands)));
}

}  // namespace bridge
