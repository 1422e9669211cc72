// What one SIMD build of the hot loops offers (pipeline_isa.cpp), as plain data: function pointers only, so that this header can be shared
// by files compiled for different ISAs without any inline function crossing between them.
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

// ---- strip loops: every dtype but the float32 family
// One operation over dense, element-aligned strips: d[i] = op(a[i], b[i], c[i]) for i in [0, n). d may be one of the operands, exactly, if
// the element sizes are equal; any other overlap is not allowed.
// float16 and bfloat16 strips hold float32 values; bool strips hold bytes 0 or 1.
using StripFn = void (*)(void* d, const void* a, const void* b, const void* c, int64_t n);

// The functions of the C library, for float64 arguments beyond 2^20 (pipeline_libm.cpp).
double distant_sine(double);
double distant_cosine(double);
double distant_tangent(double);

struct StripTable {
  StripFn stage[kStageIds][kComputedCount];  // by the dtype of the operands; nullptr: not in this table
  StripFn cast[kComputedCount][kComputedCount];  // [from][to]
  StripFn widen[2], narrow[2];  // float16, bfloat16: memory to strip, strip to memory
};

// ---- the register pipeline: float32, float16 and bfloat16 (as float32 values), and truth values that they produce
// A program is a row of words. Each stage works on 8 vectors that stay in registers (the accumulator), and jumps to the next
// word's stage; the loop over the elements is outside. Operands come from memory or are splatted.
struct Word {
  void (*wide)();  // stage for 8 vectors
  void (*narrow)();  // ... for one: short arrays and ends
  const char* p;  // operand
  int32_t mask;  // -1: the operand moves along the strip; 0: it is a register-sized temporary
  int32_t code;  // RegisterCode
};

// Names of the primitives (float32 in), then names of our own: truth (x != 0), number (truth to 0 or 1), flip (logical not of a truth value),
// zero, round_* (to what the half type can hold).
#define BRIDGE_UNARY_STAGES(X)                                                                                        \
  X(negative)                                                                                                         \
  X(abs)                                                                                                              \
  X(sign) X(square) X(sqrt) X(rsqrt) X(reciprocal) X(exp) X(expm1) X(log) X(log2) X(log10) X(log1p) X(sin) X(cos)     \
      X(tan) X(arcsin) X(arccos) X(arctan) X(sinh) X(cosh) X(tanh) X(arcsinh) X(arccosh) X(arctanh) X(erf) X(erfinv) X(sigmoid) \
          X(floor) X(ceil) X(rint) X(trunc) X(isnan) X(isinf) X(isfinite) X(signbit) X(logical_not)
#define BRIDGE_UNARY_EXTRAS(X) X(truth) X(number) X(flip) X(zero) X(round_float16) X(round_bfloat16)
#define BRIDGE_BINARY_STAGES(X)                                                                                      \
  X(add)                                                                                                             \
  X(subtract)                                                                                                        \
  X(multiply) X(divide) X(floor_divide) X(remainder) X(power) X(maximum) X(minimum) X(arctan2) X(logaddexp) X(hypot) X(copysign) X(equal) \
      X(not_equal) X(less) X(less_equal) X(greater) X(greater_equal) X(logical_and) X(logical_or)
#define BRIDGE_BINARY_EXTRAS(X) X(truth_and) X(truth_or) X(truth_xor) X(truth_same)  // of truth values

enum RegisterCode : int {
  kLoad,  // accumulator = memory; float32
  kLoadSplat,  // ... = one element
  kLoadTruth,  // ... = bytes, as truth values
  kLoadFloat16,
  kLoadBFloat16,
  kStore,
  kStoreStream,  // past the caches; 64-byte aligned
  kStoreTruth,
  kStoreFloat16,
  kStoreBFloat16,
  kReturn,  // ends a program
  kSelect,  // accumulator = accumulator ? memory : memory of the next word; + 1: the first is splatted; + 2: the second
  kSelectLast = kSelect + 3,
#define X(name) kUnary_##name,
  BRIDGE_UNARY_STAGES(X) BRIDGE_UNARY_EXTRAS(X)
#undef X
// Four forms each: accumulator op memory, accumulator op splat, memory op accumulator, splat op accumulator.
#define X(name) kBinary_##name, kBinary_##name##_last = kBinary_##name + 3,
      BRIDGE_BINARY_STAGES(X) BRIDGE_BINARY_EXTRAS(X)
#undef X
          kRegisterCodes
};
inline constexpr int kSplatForm = 1, kReversedForm = 2;

inline constexpr int kMaxWords = 640;

struct RegisterTable {
  int lanes;  // floats of a vector
  void (*wide[kRegisterCodes])();
  void (*narrow[kRegisterCodes])();
  void (*run)(const Word* words, int64_t n);  // the program over elements [0, n)
  void (*fence)();  // after streaming stores
};

}  // namespace bridge::pipeline
