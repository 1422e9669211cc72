# Sources of the matrix product. Plain: compiled once with the baseline flags.
set(BRIDGE_MATMUL_SOURCES matmul.cpp matmul_choice.cpp)
# Compiled once per SIMD level, like BRIDGE_ISA_SOURCES of pipeline.cmake.
set(BRIDGE_MATMUL_ISA_SOURCES matmul_isa.cpp)
# x86-64 only: compiled once, with the flags of v4 and -mavx512bf16.
set(BRIDGE_MATMUL_BF16_SOURCES matmul_bf16.cpp)
