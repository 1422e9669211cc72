// What one SIMD build of the hot loops offers (pipeline_isa.cpp), as plain data: function pointers only, so that this header
// can be shared by files compiled for different ISAs without any inline function crossing between them.
#pragma once
#include <cstddef>
#include <cstdint>

#include "dtypes.h"

namespace bridge::pipeline {

// The stages again, as plain numbers (kernel_spec.h pulls in the standard library, which per-ISA files must not).
enum StageId : int {
#define BRIDGE_STAGE(name, arity) kStage_##name,
#include "stages.def"
#undef BRIDGE_STAGE
  kStageIds
};

// One operation over dense, element-aligned strips: d[i] = op(a[i], b[i], c[i]) for i in [0, n). d may be one of the operands,
// exactly, if the element sizes are equal; any other overlap is not allowed.
// float16 and bfloat16 strips hold float32 values; bool strips hold bytes 0 or 1.
using StripFn = void (*)(void* d, const void* a, const void* b, const void* c, int64_t n);

struct StripTable {
  StripFn stage[kStageIds][kDTypeCount];  // by the dtype of the operands; nullptr: not in this table
  StripFn cast[kDTypeCount][kDTypeCount];  // [from][to]
  StripFn widen[2], narrow[2];  // float16, bfloat16: memory to strip, strip to memory
};

}  // namespace bridge::pipeline
