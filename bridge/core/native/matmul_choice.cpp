// What the processor is asked beyond its SIMD level: how it multiplies bfloat16.
#include <atomic>

#include "isa.h"
#include "matmul_kernels.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace bridge {
namespace {

// The registers of AMX are large, so Linux gives them to a process that asks, and not under every supervisor.
bool has_tiles() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr unsigned kBfloat16 = 1u << 22, kTiles = 1u << 24;  // cpuid 7, edx
  constexpr long kRequest = 0x1023, kTileData = 18;            // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || (edx & kTiles) == 0 || (edx & kBfloat16) == 0) return false;
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
  return false;
#endif
}

// AMD executes vdpbf16ps at the rate of a float32 FMA: twice the products in the same time. Intel does not (measured on
// a Xeon, one thread, 1024 x 1024: 112 GFLOP/s against 174 by conversion), so there conversion wins.
bool pairs_pay() {
#if defined(__x86_64__)
  return has_avx512_bf16() && __builtin_cpu_is("amd");
#else
  return false;
#endif
}

std::atomic<Bfloat16>& way() {
  static std::atomic<Bfloat16> chosen{bfloat16_works(Bfloat16::tiles) ? Bfloat16::tiles
                                      : pairs_pay()                   ? Bfloat16::pairs
                                                                      : Bfloat16::converted};
  return chosen;
}

}  // namespace

bool bfloat16_works(Bfloat16 way) {
  switch (way) {
    case Bfloat16::tiles: return has_avx512_bf16() && has_tiles();
    case Bfloat16::pairs: return has_avx512_bf16();
    case Bfloat16::converted: break;
  }
  return true;
}

Bfloat16 bfloat16_way() { return way().load(std::memory_order_relaxed); }
void set_bfloat16_way(Bfloat16 chosen) { way().store(chosen, std::memory_order_relaxed); }

}  // namespace bridge
