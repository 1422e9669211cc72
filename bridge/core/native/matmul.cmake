# Sources of the matrix product (full paths).
# Plain: compiled once with the baseline flags.
set(BRIDGE_MATMUL_SOURCES ${CMAKE_CURRENT_LIST_DIR}/matmul.cpp)
# Compiled once per SIMD level with -march flags and -DBRIDGE_ISA_NS=isa_<level>.
set(BRIDGE_MATMUL_ISA_SOURCES)
