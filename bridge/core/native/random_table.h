// What one SIMD build of the random numbers offers (random_isa.cpp), as plain data; see pipeline_table.h.
#pragma once
#include <cstdint>

namespace bridge::pipeline {

// Distributions that random bits become numbers of; in the order of kLaws in random.cpp.
enum Law : int { kUniform, kNormal, kGumbel, kLaplace, kFloatLaws };

struct RandomTable {
  // Threefry-2x32 with 20 rounds of the counters (first + i, second + i), for i in [0, n), under the key (k0, k1).
  void (*pairs)(uint32_t k0, uint32_t k1, uint32_t first, uint32_t second, int64_t n, uint32_t* x0, uint32_t* x1);
  // One float a word, one double two words. The same bits at every level.
  void (*law[kFloatLaws])(const uint32_t* words, int64_t n, float* out);
  void (*wide_law[kFloatLaws])(const uint32_t* high, const uint32_t* low, int64_t n, double* out);
};

}  // namespace bridge::pipeline
