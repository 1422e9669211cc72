// Cumulative operations along the middle one of three groups of axes: outer x length x inner elements in row-major order.
#pragma once
#include <cstdint>

#include "dtypes.h"

namespace bridge::scanning {

enum class Scan : uint8_t { sum, prod, max, min, logsumexp };

struct Rows {
  Scan scan;
  DType dtype;  // of the elements and of the results; logsumexp takes floating and complex ones only
  bool reverse = false;  // from the end
  bool inclusive = true;  // element i is part of result i
  int64_t outer = 1, length = 0, inner = 1;
  const unsigned char* from = nullptr;
  unsigned char* to = nullptr;
};

double estimate_ns(const Rows&);
// On this thread and the pool. Rows are cut into blocks by the shape alone, so the result does not depend on the number of
// threads; sums and products of real numbers run in float64 and are rounded once. The GIL need not be held. Throws
// std::bad_alloc only.
void run(const Rows&);

}  // namespace bridge::scanning
