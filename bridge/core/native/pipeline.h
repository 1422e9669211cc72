// The parts of the CPU executor. A KernelSpec becomes a Plan: a Layout (how the iteration space walks over the arrays)
// and a Program (which loops run over strips of it). A Runner executes ranges of the plan on one thread.
#pragma once
#include <cstdint>

#include "kernel_spec.h"
#include "pipeline_table.h"
#include "threads.h"

namespace bridge::pipeline {

inline constexpr int kStrip = 512;               // elements of a scratch strip, at most
inline constexpr int kScratchBytes = 96 * 1024;  // of one thread, on its stack
inline constexpr int kMaxAccess = kMaxInputs + kMaxOutputs;

// ---- tables
void fill_libm(StripTable&);
void fill_complex(StripTable&);
const StripTable& strips();  // of the chosen ISA, completed with the plain loops
const RegisterTable& registers();
inline bool is_half(DType t) { return t == DType::float16 || t == DType::bfloat16; }
// The dtype whose elements a strip of t holds: float32 for the half types.
inline DType strip_dtype(DType t) { return is_half(t) ? DType::float32 : t; }

// ---- layout: the iteration space with as few axes as the accesses allow
struct Access {
  char* base;                 // element 0; nullptr: a scalar
  int64_t strides[kMaxNdim];  // bytes
  int size;                   // bytes of an element
  bool flat;                  // element i of the space is at base + i * size
};

struct Layout {
  int ndim;  // at least 1
  int64_t shape[kMaxNdim];
  int64_t size;
  int n_access;  // inputs, then outputs
  Access access[kMaxAccess];
};

// Order of the axes of a space, and which may merge: those of the same group.
struct AxisOrder {
  int n;
  int axis[kMaxNdim], group[kMaxNdim];
};

void make_layout(Layout&, const KernelSpec&, const AxisOrder&);

// Position in the space: the address of every access at the start of a row (the innermost axis) and the way to the next.
struct Cursor {
  int64_t index[kMaxNdim];
  int64_t column;  // within the row
  char* row[kMaxAccess];
  void seek(const Layout&, int64_t flat);
  void next_row(const Layout&);
};

// n elements from flat index `flat` on, between the array and a dense strip.
void gather(const Layout&, const Access&, int64_t flat, int64_t n, void* strip);
void scatter(const Layout&, const Access&, int64_t flat, int64_t n, const void* strip);
void copy_strided(char* d, int64_t d_stride, const char* s, int64_t s_stride, int size, int64_t n);  // strides in bytes

// ---- program: steps over strips. A place is where a strip is: an array itself or scratch. A step is one strip loop, or a
// segment: a program of the register pipeline, in which the float32 family runs.
inline constexpr int kMaxValues = kMaxInputs + kMaxTape;
inline constexpr int kRawPlace = kMaxValues;  // + k: input k as it lies in memory, if that is no strip (half types)
inline constexpr int kOutPlace = kRawPlace + kMaxInputs;  // + j: output j as it goes to memory
inline constexpr int kStripPlaces = kOutPlace + kMaxOutputs;
// For words only: element k of the splatted inputs, and temporaries of the register pipeline's width.
inline constexpr int kSplatPlace = kStripPlaces;
inline constexpr int kTemporaryPlace = kSplatPlace + kMaxInputs;

enum class Source : uint8_t { unused, scalar, direct, splat, gathered };  // where the strip of an input comes from
enum class Sink : uint8_t { direct, scattered };

struct Step {
  StripFn fn;  // nullptr: a segment, whose first word is `d`
  int16_t d, a, b, c;  // places; -1: none
};

struct WordPlan {
  int16_t code;  // RegisterCode
  int16_t place;  // of the operand; -1: none
};

struct Program {
  int n_steps, n_words;
  Step steps[3 * kMaxTape + kMaxInputs + kMaxOutputs];
  WordPlan words[kMaxWords];
  Source source[kMaxInputs];
  Sink sink[kMaxOutputs];
  int16_t in_place[kMaxInputs], out_place[kMaxOutputs];
  int16_t slot[kStripPlaces];  // scratch slot; -1: an array, or unused
  int n_slots, slot_bytes, n_temporaries;  // slot_bytes: of one strip of `chunk` elements
  int64_t chunk;  // elements that run at once
  bool streams;  // some output is stored past the caches
};

struct Plan {
  const KernelSpec* spec;
  Layout layout;
  Program program;
  bool by_rows;  // chunks end with the innermost axis, so that contiguous rows are read and written in place
};

void make_plan(Plan&, const KernelSpec&, const AxisOrder&);

// Executes chunks on the calling thread. Scratch lies in the object: keep it on the stack.
class Runner {
 public:
  explicit Runner(const Plan&);
  void run(int64_t begin, int64_t end);  // elements of the space; outputs are stored
  const void* values(int64_t begin, int64_t n);  // the strip of spec.reduce_value, n <= kStrip; outputs are stored

 private:
  void execute(int64_t flat, int64_t n);
  void set_splat(int input, const void* element, int64_t n);

  const Plan& plan_;
  const RegisterTable& registers_;
  Cursor cursor_;
  int64_t at_ = -1;  // flat index of the cursor
  char* place_[kStripPlaces];
  uint32_t splats_[kMaxInputs];  // float32 values, truth values as 0 or ~0
  Word words_[kMaxWords];
  alignas(64) char values_[kStrip * 16];
  alignas(64) char scratch_[kScratchBytes];
};

// Runs the kernel if it is of the plainest kind (dense float32 arrays and scalars, arithmetic and functions, one result), for which
// making a Plan would take longer than small arrays take to compute. False: it is not.
bool run_plain(const KernelSpec&);

void run_reduction(const KernelSpec&);
double element_ns(const KernelSpec&);  // rough cost of one element of the tape
// fn over ranges of [0, n), on several threads if the kernel is worth it. Ranges begin at multiples of 4096.
void for_ranges(const KernelSpec&, int64_t n, RangeFn fn, void* ctx);

}  // namespace bridge::pipeline
