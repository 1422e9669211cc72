// What one SIMD build of the loops over indices and masks offers (places_isa.cpp), as plain data; see pipeline_table.h.
#pragma once
#include <cstdint>

namespace bridge {

// n indices that follow one another. Those of signed dtypes count from the end where they are negative.
// False: one is out of bounds; `out` is written all the same.
using FindFn = bool (*)(const void* indices, int64_t n, int64_t extent, int64_t step, int64_t* out);
using CheckFn = bool (*)(const void* indices, int64_t n, int64_t extent);

inline constexpr int kIndexTypes = 8;  // uint8 to uint64, int8 to int64: DType from 1 on

struct PlacesTable {
  FindFn set[kIndexTypes];  // out[j] = step * index
  FindFn add[kIndexTypes];  // out[j] += step * index
  CheckFn check[kIndexTypes];
  int64_t (*count_true)(const unsigned char* mask, int64_t n);
  // The positions from `begin` to `end` of true elements; there are as many as `out` has room for.
  void (*fill_narrow)(const unsigned char* mask, int64_t begin, int64_t end, int32_t* out, const int32_t* out_end);
  void (*fill_wide)(const unsigned char* mask, int64_t begin, int64_t end, int64_t* out, const int64_t* out_end);
};

const PlacesTable& places_table();  // of this process's level

}  // namespace bridge
