// run_plain: dense float32 arrays and scalars in, one dense float32 array out, nothing but float32 in between. The words are written in one
// pass, straight from the spec; what they do is what pipeline_segment.cpp would have made.
#include <cstring>

#include "pipeline_compiler.h"

namespace bridge::pipeline {
namespace {

constexpr int kMaxTemporaries = 16;  // spilled values at a time; more: make a Plan
constexpr int kMaxPlainWords = 4 * kMaxTape + 2;
constexpr int64_t kStreamAtLeast = 2 * 1024 * 1024;  // elements of the result

struct Temporaries {
  alignas(64) float values[kMaxTemporaries][8 * 16];  // 8 vectors of the widest ISA
};

class PlainWriter {
 public:
  PlainWriter(const KernelSpec& spec, Word* words, Temporaries& temporaries)
      : spec_(spec), table_(registers()), words_(words), temporaries_(temporaries) {}

  bool write() {
    if (!suits()) return false;
    for (int i = 0; i < spec_.n_tape; i++) {
      const Instr& instr = spec_.tape[i];
      const int v = spec_.n_inputs + i;
      if (stage_[i] >= kBinary_add) {
        if (!binary(stage_[i], instr.a, instr.b)) return false;
      } else {
        if (!load(instr.a)) return false;
        left_[instr.a]--;
        if (!keep()) return false;
        if (stage_[i] != kLoad) word(stage_[i], nullptr, 0);
      }
      accumulator_ = v;
    }
    char* out = static_cast<char*>(spec_.outputs[0].data);
    const bool streams = spec_.size >= kStreamAtLeast && reinterpret_cast<uintptr_t>(out) % 64 == 0;
    word(streams ? kStoreStream : kStore, out, -1);
    word(kReturn, nullptr, 0);
    return true;
  }
  int count() const { return count_; }

 private:
  bool suits() {
    if (spec_.n_outputs != 1 || spec_.n_tape == 0) return false;
    const Output& out = spec_.outputs[0];
    const int n_values = spec_.n_inputs + spec_.n_tape;
    if (out.value != n_values - 1 || out.dtype != DType::float32 || out.strides != nullptr) return false;
    for (int v = 0; v < n_values; v++) left_[v] = 0;
    for (int k = 0; k < spec_.n_inputs; k++) {
      const Input& in = spec_.inputs[k];
      if (in.dtype != DType::float32 || (!in.is_scalar && in.strides != nullptr)) return false;
      place_[k] = in.is_scalar ? const_cast<unsigned char*>(in.value.bytes) : const_cast<void*>(in.data);
      mask_[k] = in.is_scalar ? 0 : -1;
    }
    for (int i = 0; i < spec_.n_tape; i++) {
      const Instr& instr = spec_.tape[i];
      if (instr.in != DType::float32 || instr.out != DType::float32 || instr.c >= 0) return false;
      int code = instr.b < 0 ? unary_code(instr.stage) : binary_code(instr.stage);
      if (instr.stage == Stage::copy) code = kLoad;
      if (code < 0) return false;
      stage_[i] = static_cast<int16_t>(code);
      left_[instr.a]++;
      if (instr.b >= 0) left_[instr.b]++;
      place_[spec_.n_inputs + i] = nullptr;
      mask_[spec_.n_inputs + i] = 0;
    }
    return true;
  }

  bool is_splat(int v) const { return v < spec_.n_inputs && mask_[v] == 0; }

  void word(int code, const void* p, int mask) {
    words_[count_++] = {table_.wide[code], table_.narrow[code], static_cast<char*>(const_cast<void*>(p)), mask, code};
  }

  // Before the accumulator gets another value: spill it if it is still needed and lies nowhere else.
  bool keep() {
    if (accumulator_ < 0 || left_[accumulator_] <= 0 || place_[accumulator_] != nullptr) return true;
    int t = 0;
    while (t < n_temporaries_ && left_[holder_[t]] > 0) t++;
    if (t == kMaxTemporaries) return false;
    if (t == n_temporaries_) n_temporaries_++;
    holder_[t] = static_cast<int16_t>(accumulator_);
    place_[accumulator_] = temporaries_.values[t];
    word(kStore, temporaries_.values[t], 0);
    return true;
  }

  bool load(int v) {
    if (accumulator_ == v) return true;
    if (!keep()) return false;
    accumulator_ = v;
    word(is_splat(v) ? kLoadSplat : kLoad, place_[v], mask_[v]);
    return true;
  }

  bool binary(int base, int a, int b) {
    if (accumulator_ != a && accumulator_ != b && !load(is_splat(a) ? b : a)) return false;
    if (a == b && base == kBinary_multiply) {
      left_[a] = static_cast<int16_t>(left_[a] - 2);
      if (!keep()) return false;
      word(kUnary_square, nullptr, 0);
      return true;
    }
    const int other = accumulator_ == a ? b : a;
    left_[accumulator_]--;
    if (!keep()) return false;
    const int form = (accumulator_ == a ? 0 : kReversedForm) + (is_splat(other) ? kSplatForm : 0);
    word(base + form, place_[other], mask_[other]);
    left_[other]--;
    return true;
  }

  const KernelSpec& spec_;
  const RegisterTable& table_;
  Word* words_;
  Temporaries& temporaries_;
  int count_ = 0, n_temporaries_ = 0, accumulator_ = -1;
  int16_t stage_[kMaxTape];  // RegisterCode; kLoad: a copy
  int16_t left_[kMaxValues];  // uses still to come
  int8_t mask_[kMaxValues];
  int16_t holder_[kMaxTemporaries];
  void* place_[kMaxValues];  // nullptr: nowhere but in the accumulator
};

struct Job {
  const Word* words;
  int count;
  const Temporaries& temporaries;
};

// Words of another range: arrays moved on, temporaries of this thread.
void run_range(void* ctx, int64_t begin, int64_t end) {
  const Job& job = *static_cast<Job*>(ctx);
  const char* shared = reinterpret_cast<const char*>(&job.temporaries);
  Temporaries own;
  Word words[kMaxPlainWords];
  for (int w = 0; w < job.count; w++) {
    words[w] = job.words[w];
    if (words[w].mask != 0) {
      words[w].p += begin * 4;
    } else if (words[w].p >= shared && words[w].p < shared + sizeof(Temporaries)) {
      words[w].p = reinterpret_cast<char*>(&own) + (words[w].p - shared);
    }
  }
  registers().run(words, end - begin);
  if (job.words[job.count - 2].code == kStoreStream) registers().fence();
}

}  // namespace

bool run_plain(const KernelSpec& spec) {
  Word words[kMaxPlainWords];
  Temporaries temporaries;
  PlainWriter writer(spec, words, temporaries);
  if (!writer.write()) return false;
  if (spec.size < 1024) {
    registers().run(words, spec.size);
    return true;
  }
  Job job{words, writer.count(), temporaries};
  for_ranges(spec, spec.size, run_range, &job);
  return true;
}

}  // namespace bridge::pipeline
