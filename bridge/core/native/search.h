// Searching a sorted sequence for many values.
#pragma once
#include <cstdint>

#include "dtypes.h"

namespace bridge::sorting {

struct Search {
  DType dtype;  // of the sequence and of the values
  bool right;  // behind equal elements, not in front of them
  int64_t length;
  const unsigned char* sequence;
  int64_t n;
  const unsigned char* values;
  unsigned char* to;  // places: int32, or int64 where wide_places(length) (sort_rows.h)
};

double estimate_ns(const Search&);
void run(const Search&);  // on this thread and the pool. The GIL need not be held

}  // namespace bridge::sorting
