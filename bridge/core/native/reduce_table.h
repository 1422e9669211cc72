// What one SIMD build of the reductions offers (reduce_isa.cpp), as plain data; see pipeline_table.h.
#pragma once
#include <cstdint>

#include "dtypes.h"

namespace bridge::pipeline {

// Accumulators by reduction and strip dtype of the values:
//   sum, prod: float64 of real floats, complex128 of complex, uint64 of bool and unsigned, int64 of signed integers
//   max, min, argmax, argmin: the strip dtype itself; all, any: bool
// `index` is used by argmax and argmin only.

// One accumulator (and the index within the row) for each of `rows` rows of n >= 1 values that follow one another.
using RowsFn = void (*)(void* accumulators, int64_t* index, const void* values, int64_t rows, int64_t n);
// accumulators[i] = accumulators[i] op values[i]; index[i] = position where the value wins. At position 0 the accumulators are set.
using FoldFn = void (*)(void* accumulators, int64_t* index, const void* values, int64_t n, int64_t position);

inline constexpr int kReduceCount = 9;  // of enum Reduce, `none` included

struct ReduceTable {
  RowsFn rows[kReduceCount][kComputedCount];
  FoldFn fold[kReduceCount][kComputedCount];
};

}  // namespace bridge::pipeline
