// KernelSpec: the waist between the graph and the backends. A fused kernel is a small SSA tape over an
// iteration space with strided accesses, optionally ended by one reduction. The CPU pipeline runs it
// (pipeline.cpp), the text printer prints it (print_spec.cpp), metal/msl.py prints it as Metal source.
// Backends see the spec, never the graph.
#pragma once
#include <cstdint>
#include <string>

#include "dtypes.h"

namespace bridge {

inline constexpr int kMaxNdim = 32;
inline constexpr int kMaxTape = 64;      // instructions of one kernel; longer chains are cut
inline constexpr int kMaxInputs = 32;    // distinct accesses that a kernel reads
inline constexpr int kMaxOutputs = 16;   // values that a kernel writes

// Elementwise operations that a tape can hold. The name is the primitive's name in bridge/core/ops/
// (stages.def is the one list: name, arity).
enum class Stage : uint16_t {
#define BRIDGE_STAGE(name, arity) name,
#include "stages.def"
#undef BRIDGE_STAGE
  count
};
inline constexpr int kStageCount = static_cast<int>(Stage::count);
const char* stage_name(Stage);
int stage_arity(Stage);
int find_stage(const char* name);  // -1 when there is none

struct alignas(16) ScalarValue { unsigned char bytes[16]; };  // one element, in the input's dtype

// One array (or scalar) that the tape reads.
struct Input {
  const void* data;         // element 0 of the iteration space; nullptr for a scalar
  const int64_t* strides;   // elements, one per axis of the space; nullptr: dense row-major
  DType dtype;
  bool is_scalar;           // `value` is splatted
  ScalarValue value;
};

// One SSA value. Operands are value ids: 0..n_inputs-1 are inputs, n_inputs+i is tape[i].
// All operands have dtype `in`, except: select's operand a is bool (b and c are `in`), cast's is `in`
// and the result `out`. Comparisons, logical_* and is* have out == bool. abs of complex is real.
struct Instr {
  Stage stage;
  DType in, out;
  int16_t a, b, c;   // -1: none
};

struct Output {
  int16_t value;            // value id that is stored
  DType dtype;
  void* data;
  const int64_t* strides;   // elements; nullptr: dense row-major. Never overlaps itself.
};

enum class Reduce : uint8_t { none, sum, prod, max, min, all, any, argmax, argmin };

struct KernelSpec {
  int ndim = 0;                     // of the iteration space
  int64_t shape[kMaxNdim];
  int64_t size = 1;                 // product of shape
  int n_inputs = 0, n_tape = 0, n_outputs = 0;
  Input inputs[kMaxInputs];
  Instr tape[kMaxTape];
  Output outputs[kMaxOutputs];      // elementwise results, of the whole space
  // The reduction at the end (Reduce::none: there is none, and n_outputs > 0; otherwise n_outputs may be 0
  // or more: a prologue value that somebody holds is stored as well).
  Reduce reduce = Reduce::none;
  int16_t reduce_value = -1;        // value id that is reduced
  uint32_t reduce_axes = 0;         // bit k: axis k is reduced
  DType reduce_in, reduce_out;      // float16/bfloat16 sum and prod accumulate in float32 and round once
  void* reduce_data = nullptr;      // dense row-major over the kept axes
};

// The dtype as which elements are moved: a half through float32 would lose the payload of a NaN.
constexpr DType moved_as(DType t) {
  if (is_held(t)) return DType::uint8;
  return t == DType::float16 || t == DType::bfloat16 ? DType::uint16 : t;
}
// The dtype that a kernel is told: held elements are only ever copied, as bytes.
constexpr DType carried_as(DType t) { return is_held(t) ? DType::uint8 : t; }

// Run on this thread and the pool. The GIL need not be held. Throws std::bad_alloc only.
void run_kernel(const KernelSpec&);
// Rough cost of run_kernel on one thread, in nanoseconds (decides threads and releasing the GIL).
double estimate_ns(const KernelSpec&);
// One kernel as text, stable across machines (addresses are not printed).
std::string print_kernel(const KernelSpec&);

}  // namespace bridge
