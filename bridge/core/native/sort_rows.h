// Sorting and selecting along the middle one of three groups of axes: outer x length x inner elements in row-major order.
#pragma once
#include <cstdint>

#include "dtypes.h"

namespace bridge::sorting {

enum class Answer : uint8_t { values, places };  // the elements themselves, or where they stood

struct Rows {
  DType dtype;
  Answer answer = Answer::values;
  bool descending = false;
  int64_t kth = -1;  // not negative: only what the element in this place is must be right, and which stand before it
  int64_t outer = 1, length = 0, inner = 1;
  const unsigned char* from = nullptr;
  unsigned char* to = nullptr;  // elements, or places: int32, or int64 where `wide_places`
};

inline bool wide_places(int64_t length) { return length > int64_t{INT32_MAX}; }

double estimate_ns(const Rows&);
// On this thread and the pool; stable: equal elements keep their order, also on both sides of the kth. The result does not
// depend on the number of threads. The GIL need not be held. Throws std::bad_alloc only.
void run(const Rows&);

}  // namespace bridge::sorting
