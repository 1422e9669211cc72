// The SIMD level of this process (isa.h).
#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace bridge {
namespace {

#if defined(__x86_64__)

struct Level {
  const char* name;
  Isa isa;
  bool supported;
};

// Feature by feature: clang before 17 does not know the names "x86-64-v3" and the like.
bool has_v2() {
  return __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("sse4.2") &&
         __builtin_cpu_supports("popcnt");
}
// F16C, LZCNT and MOVBE belong to v3 too; every processor with AVX2, FMA and BMI2 has them, and not every compiler can ask.
bool has_v3() {
  return has_v2() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2");
}
bool has_v4() {
  return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

Isa choose() {
  __builtin_cpu_init();
  const Level levels[] = {{"v4", Isa::v4, has_v4()}, {"v3", Isa::v3, has_v3()}, {"v2", Isa::v2, has_v2()}};
  const char* wanted = std::getenv("BRIDGE_ISA");
  if (wanted != nullptr && *wanted != '\0') {
    for (const Level& level : levels) {
      if (std::string(wanted) != level.name) continue;
      if (level.supported) return level.isa;
      throw std::runtime_error(std::string("[BRIDGE_ISA] this processor cannot run the level.\n  got:  BRIDGE_ISA=") +
                               wanted + "\n  fix:  unset BRIDGE_ISA; the best level is then chosen");
    }
    throw std::runtime_error(std::string("[BRIDGE_ISA] unknown level.\n  got:  BRIDGE_ISA=") + wanted +
                             "\n  want: v2, v3 or v4");
  }
  for (const Level& level : levels)
    if (level.supported) return level.isa;
  throw std::runtime_error("[bridge] this processor is older than x86-64-v2 (SSE4.2).");
}

#else

#if defined(__aarch64__)
constexpr Isa kOnly = Isa::neon;
constexpr const char* kOnlyName = "neon";
#else
constexpr Isa kOnly = Isa::generic;
constexpr const char* kOnlyName = "generic";
#endif

Isa choose() {
  const char* wanted = std::getenv("BRIDGE_ISA");
  if (wanted != nullptr && *wanted != '\0' && std::string(wanted) != kOnlyName)
    throw std::runtime_error(std::string("[BRIDGE_ISA] unknown level.\n  got:  BRIDGE_ISA=") + wanted +
                             "\n  want: " + kOnlyName);
  return kOnly;
}

#endif

}  // namespace

Isa isa() {
  static const Isa chosen = choose();  // a throw leaves it unset, so that every call reports the error
  return chosen;
}

const char* isa_name() {
  switch (isa()) {
    case Isa::v2: return "v2";
    case Isa::v3: return "v3";
    case Isa::v4: return "v4";
    case Isa::neon: return "neon";
    case Isa::generic: return "generic";
  }
  return "generic";
}

bool has_avx512_bf16() {
#if defined(__x86_64__)
  static const bool has = isa() == Isa::v4 && __builtin_cpu_supports("avx512bf16");
  return has;
#else
  return false;
#endif
}

}  // namespace bridge
