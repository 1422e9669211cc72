// C interface to the matrix product for test_matmul.py. It stands in for isa.cpp, so that one process can run every
// level that the machine has.
#include "isa.h"
#include "matmul.h"
#include "matmul_kernels.h"
#include "memory.h"
#include "threads.h"

namespace {
bridge::Isa level =
#if defined(__x86_64__)
    bridge::Isa::v2;
#elif defined(__aarch64__)
    bridge::Isa::neon;
#else
    bridge::Isa::generic;
#endif
}  // namespace

namespace bridge {
Isa isa() { return level; }
const char* isa_name() { return "chosen by the test"; }
bool has_avx512_bf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}
}  // namespace bridge

extern "C" {

// 0 when this machine lacks the level, or that way (enum Bfloat16) of multiplying bfloat16.
int select_level(int wanted, int bfloat16_way) {
#if defined(__x86_64__)
  const auto isa = static_cast<bridge::Isa>(wanted);
  if (isa == bridge::Isa::v3 && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) return 0;
  if (isa == bridge::Isa::v4 &&
      !(__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")))
    return 0;
  level = isa;
#else
  (void)wanted;
#endif
  const auto way = static_cast<bridge::Bfloat16>(bfloat16_way);
  if (!bridge::bfloat16_works(way)) return 0;
  bridge::set_bfloat16_way(way);
  return 1;
}

void select_threads(int n) { bridge::set_thread_count(n); }
long long active_bytes() { return static_cast<long long>(bridge::active_memory()); }
void limit_bytes(long long n) { bridge::set_memory_limit(static_cast<size_t>(n)); }

// 0, or 1 when memory ran out.
int matmul_run(int dtype, int64_t m, int64_t n, int64_t k, const void* a, int64_t a_row, int64_t a_col, const void* b,
               int64_t b_row, int64_t b_col, void* c) {
  try {
    bridge::matmul(static_cast<bridge::DType>(dtype), m, n, k, {a, a_row, a_col}, {b, b_row, b_col}, c);
    return 0;
  } catch (const std::bad_alloc&) { return 1; }
}

}  // extern "C"
