// The SIMD level, chosen once at load: cpuid, or BRIDGE_ISA=v2|v3|v4 (x86-64), "neon" on arm64.
#pragma once

namespace bridge {

enum class Isa { v2 = 0, v3 = 1, v4 = 2, neon = 3, generic = 4 };
Isa isa();  // throws std::runtime_error when BRIDGE_ISA names a level this machine lacks or an unknown one
const char* isa_name();
bool has_avx512_bf16();  // v4 only: vdpbf16ps may be used

}  // namespace bridge
