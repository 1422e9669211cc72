# Sources of the executor of fused kernels. Plain: compiled once with the baseline flags.
set(BRIDGE_PIPELINE_SOURCES isa.cpp threads.cpp stages.cpp print_spec.cpp pipeline.cpp pipeline_program.cpp
    pipeline_segment.cpp pipeline_plain.cpp pipeline_layout.cpp pipeline_libm.cpp pipeline_complex.cpp reduce.cpp)
list(TRANSFORM BRIDGE_PIPELINE_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
# Compiled once per SIMD level, each with its -march and -DBRIDGE_ISA_NS=isa_v2|isa_v3|isa_v4|isa_neon|isa_generic
# (v4 also -mprefer-vector-width=512) on top of BRIDGE_ISA_FLAGS.
set(BRIDGE_ISA_SOURCES pipeline_isa.cpp places_isa.cpp reduce_isa.cpp sort_isa.cpp random_isa.cpp)
list(TRANSFORM BRIDGE_ISA_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
# -O3: the strip loops are left to the vectoriser, which -O2 of GCC 12 holds back.
set(BRIDGE_ISA_FLAGS -O3 -ffp-contract=off -fno-math-errno -fvisibility=hidden)
# "Loop not vectorised" is no error: the loop is right either way.
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  list(APPEND BRIDGE_ISA_FLAGS -Wno-pass-failed)
endif()
