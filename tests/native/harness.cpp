// A C interface to run_kernel for the tests: a KernelSpec is put together call by call and run without Python's help.
#include <chrono>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "isa.h"
#include "kernel_spec.h"
#include "threads.h"

using namespace bridge;

namespace {

struct Kernel {
  KernelSpec spec;
  int64_t strides[kMaxInputs + kMaxOutputs][kMaxNdim];
  std::string text;

  const int64_t* keep(int row, const int64_t* values) {
    if (values == nullptr) return nullptr;
    std::memcpy(strides[row], values, sizeof(int64_t) * static_cast<size_t>(spec.ndim));
    return strides[row];
  }
};

}  // namespace

extern "C" {

const char* test_isa() {
  static std::string text;
  try {
    text = isa_name();
  } catch (const std::exception& error) { text = error.what(); }
  return text.c_str();
}
void test_set_threads(int n) { set_thread_count(n); }
int test_threads() { return thread_count(); }
const char* test_stage_name(int stage) {
  return stage >= 0 && stage < kStageCount ? stage_name(static_cast<Stage>(stage)) : nullptr;
}
int test_stage_arity(int stage) { return stage_arity(static_cast<Stage>(stage)); }
int test_find_stage(const char* name) { return find_stage(name); }

Kernel* test_new(int ndim, const int64_t* shape) {
  auto* k = new Kernel;
  k->spec.ndim = ndim;
  for (int i = 0; i < ndim; i++) {
    k->spec.shape[i] = shape[i];
    k->spec.size *= shape[i];
  }
  return k;
}
void test_free(Kernel* k) { delete k; }
void test_input(Kernel* k, int dtype, const void* data, const int64_t* strides) {
  const int at = k->spec.n_inputs++;
  k->spec.inputs[at] = {data, k->keep(at, strides), static_cast<DType>(dtype), false, {}};
}
void test_scalar(Kernel* k, int dtype, const void* value) {
  Input& in = k->spec.inputs[k->spec.n_inputs++];
  in = {nullptr, nullptr, static_cast<DType>(dtype), true, {}};
  std::memcpy(in.value.bytes, value, static_cast<size_t>(itemsize(in.dtype)));
}
void test_instr(Kernel* k, int stage, int in, int out, int a, int b, int c) {
  k->spec.tape[k->spec.n_tape++] = {static_cast<Stage>(stage), static_cast<DType>(in),  static_cast<DType>(out),
                                    static_cast<int16_t>(a),   static_cast<int16_t>(b), static_cast<int16_t>(c)};
}
void test_output(Kernel* k, int value, int dtype, void* data, const int64_t* strides) {
  const int at = k->spec.n_outputs++;
  k->spec.outputs[at] = {static_cast<int16_t>(value), static_cast<DType>(dtype), data,
                         k->keep(kMaxInputs + at, strides)};
}
void test_reduce(Kernel* k, int reduce, int value, uint32_t axes, int in, int out, void* data) {
  k->spec.reduce = static_cast<Reduce>(reduce);
  k->spec.reduce_value = static_cast<int16_t>(value);
  k->spec.reduce_axes = axes;
  k->spec.reduce_in = static_cast<DType>(in);
  k->spec.reduce_out = static_cast<DType>(out);
  k->spec.reduce_data = data;
}
// nullptr, or what went wrong.
const char* test_run(Kernel* k) {
  try {
    run_kernel(k->spec);
    return nullptr;
  } catch (const std::exception& error) {
    k->text = error.what();
    return k->text.c_str();
  }
}
double test_estimate(Kernel* k) { return estimate_ns(k->spec); }
const char* test_print(Kernel* k) {
  k->text = print_kernel(k->spec);
  return k->text.c_str();
}
// Nanoseconds of one run: the median of `rounds` rounds of `repeat` runs.
double test_time(Kernel* k, int rounds, int repeat) {
  std::vector<double> times;
  for (int r = 0; r < rounds; r++) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < repeat; i++) run_kernel(k->spec);
    const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
    times.push_back(elapsed.count() / repeat);
  }
  for (size_t i = 1; i < times.size(); i++)
    for (size_t j = i; j > 0 && times[j] < times[j - 1]; j--) std::swap(times[j], times[j - 1]);
  return times[times.size() / 2];
}

}  // extern "C"
