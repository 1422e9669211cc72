// The words of a segment. Values pass through one accumulator (8 vectors in registers); a value that is needed again after the accumulator
// has moved on is spilled to a temporary of the same size, or, if another step needs it, stored to its strip.
#include "pipeline_compiler.h"

namespace bridge::pipeline {
namespace {

struct StageCodes { int16_t unary[kStageIds], binary[kStageIds]; };

constexpr StageCodes make_codes() {
  StageCodes codes{};
  for (int s = 0; s < kStageIds; s++) codes.unary[s] = codes.binary[s] = -1;
#define X(name) codes.unary[kStage_##name] = kUnary_##name;
  BRIDGE_UNARY_STAGES(X)
#undef X
#define X(name) codes.binary[kStage_##name] = kBinary_##name;
  BRIDGE_BINARY_STAGES(X)
#undef X
  return codes;
}
constexpr StageCodes kCodes = make_codes();

}  // namespace

int unary_code(Stage stage) { return kCodes.unary[static_cast<int>(stage)]; }
int binary_code(Stage stage) { return kCodes.binary[static_cast<int>(stage)]; }

namespace {

// Truth values in registers: all bits or none. -1: not done in registers.
int truth_code(Stage stage) {
  switch (stage) {
    case Stage::logical_not:
    case Stage::bitwise_invert: return kUnary_flip;
    case Stage::logical_and:
    case Stage::bitwise_and:
    case Stage::multiply:
    case Stage::minimum: return kBinary_truth_and;
    case Stage::logical_or:
    case Stage::bitwise_or:
    case Stage::add:
    case Stage::maximum: return kBinary_truth_or;
    case Stage::bitwise_xor:
    case Stage::not_equal: return kBinary_truth_xor;
    case Stage::equal: return kBinary_truth_same;
    default: return -1;
  }
}

// Results of these on half values are half values: nothing to round.
bool is_exact_on_half(Stage stage) {
  switch (stage) {
    case Stage::copy:
    case Stage::cast:
    case Stage::negative:
    case Stage::abs:
    case Stage::sign:
    case Stage::floor:
    case Stage::ceil:
    case Stage::rint:
    case Stage::trunc:
    case Stage::real:
    case Stage::imag:
    case Stage::conjugate:
    case Stage::maximum:
    case Stage::minimum:
    case Stage::select: return true;
    default: return false;
  }
}

bool in_float32(DType t) { return strip_dtype(t) == DType::float32; }
bool is_bfloat16(DType t) { return t == DType::bfloat16; }
int round_code(DType half) { return is_bfloat16(half) ? kUnary_round_bfloat16 : kUnary_round_float16; }

bool moves(int place) { return place >= 0 && place < kStripPlaces; }

}  // namespace

// Float32 work runs in registers, and so do the truth values that it produces; what else there is of bool is faster as bytes.
bool Compiler::suits_registers(const Instr& instr, int open_segment) const {
  if (instr.stage == Stage::cast)
    return (in_float32(instr.in) && (in_float32(instr.out) || instr.out == DType::bool_)) ||
           (instr.in == DType::bool_ && in_float32(instr.out));
  if (in_float32(instr.in)) return true;
  if (instr.in != DType::bool_ || open_segment == 0 || truth_code(instr.stage) < 0) return false;
  return segment_[instr.a] == open_segment || (instr.b >= 0 && segment_[instr.b] == open_segment);
}

// Which segment computes which value. A strip loop that needs nothing of the open segment goes before it; one that does ends it.
void Compiler::form_segments() {
  int open = 0, count = 0;
  for (int v = 0; v < spec_.n_inputs; v++) segment_[v] = 0;
  for (int v = spec_.n_inputs; v < n_values(); v++) {
    segment_[v] = 0;
    crosses_[v] = stored_[v] = false;
    if (!needed_[v]) continue;
    const Instr& instr = instr_of(v);
    const bool here = suits_registers(instr, open);
    if (here && open == 0) open = ++count;
    if (here) segment_[v] = static_cast<int16_t>(open);
    bool ends = false;
    for (int operand : {instr.a, instr.b, instr.c}) {
      if (operand < spec_.n_inputs || segment_[operand] == 0) continue;
      if (!here || segment_[operand] != open) crosses_[operand] = true;
      ends |= !here && segment_[operand] == open;
    }
    if (ends) open = 0;
  }
  const int reduced = spec_.reduce == Reduce::none ? -1 : spec_.reduce_value;
  if (reduced >= spec_.n_inputs && segment_[reduced] != 0) crosses_[reduced] = true;
}

void Compiler::open_segment(int number, int first_instr) {
  open_ = number;
  first_word_ = program_.n_words;
  accumulator_ = -1;
  busy_temporaries_[0] = busy_temporaries_[1] = 0;
  for (int v = 0; v < n_values(); v++) {
    left_[v] = 0;
    temporary_[v] = -1;
  }
  for (int i = first_instr; i < spec_.n_tape; i++) {
    if (segment_[spec_.n_inputs + i] != number) continue;
    for (int operand : {spec_.tape[i].a, spec_.tape[i].b, spec_.tape[i].c})
      if (operand >= 0) left_[operand]++;
  }
}

void Compiler::close_segment() {
  if (open_ == 0) return;
  word(kReturn);
  for (int w = first_word_; w < program_.n_words; w++)
    if (moves(program_.words[w].place)) touch(program_.words[w].place);
  program_.steps[program_.n_steps++] = {nullptr, static_cast<int16_t>(first_word_), -1, -1, -1};
  open_ = 0;
}

void Compiler::word(int code, int place) {
  program_.words[program_.n_words++] = {static_cast<int16_t>(code), static_cast<int16_t>(place)};
}

// Where the value can be read from as float32 (or as a truth value of that width).
Compiler::Operand Compiler::operand(int v) const {
  if (is_constant(v)) return {kSplatPlace + v, true};
  if (temporary_[v] >= 0) return {kTemporaryPlace + temporary_[v], false};
  if (dtype_of(v) == DType::bool_) return {-1, false};
  if (is_input(v)) return {is_half(dtype_of(v)) ? -1 : program_.in_place[v], false};
  if (segment_[v] != open_ || stored_[v]) return {v, false};
  return {-1, false};
}

void Compiler::spill(int v) {
  int t = 0;
  while (busy_temporaries_[t / 64] >> (t % 64) & 1) t++;
  busy_temporaries_[t / 64] |= uint64_t{1} << (t % 64);
  if (t >= program_.n_temporaries) program_.n_temporaries = t + 1;
  temporary_[v] = static_cast<int16_t>(t);
  word(kStore, kTemporaryPlace + t);
}

// Before the accumulator gets another value.
void Compiler::keep_accumulator() {
  if (accumulator_ >= 0 && left_[accumulator_] > 0 && operand(accumulator_).place < 0) spill(accumulator_);
}

void Compiler::load(int v) {
  if (accumulator_ == v) return;
  keep_accumulator();
  accumulator_ = v;
  const Operand from = operand(v);
  if (from.place >= 0) return word(from.splat ? kLoadSplat : kLoad, from.place);
  if (dtype_of(v) == DType::bool_) return word(kLoadTruth, is_input(v) ? program_.in_place[v] : v);
  word(is_bfloat16(dtype_of(v)) ? kLoadBFloat16 : kLoadFloat16, kRawPlace + v);
}

void Compiler::used(int v) {
  if (--left_[v] > 0 || temporary_[v] < 0) return;
  busy_temporaries_[temporary_[v] / 64] &= ~(uint64_t{1} << (temporary_[v] % 64));
  temporary_[v] = -1;
}

// The accumulator becomes code(a); -1: stays a.
void Compiler::emit_unary(int code, int a) {
  load(a);
  used(a);
  keep_accumulator();
  if (code >= 0) word(code);
}

void Compiler::emit_binary(int base, int a, int b) {
  if (a == b) {
    load(a);
    if (base == kBinary_multiply) {
      left_[a]--;
      return emit_unary(kUnary_square, a);
    }
    if (operand(a).place < 0) spill(a);
    const Operand self = operand(a);
    word(base + (self.splat ? kSplatForm : 0), self.place);
    used(a);
    return used(a);
  }
  if (accumulator_ != a && accumulator_ != b) {
    const bool b_first = operand(a).place >= 0 && (operand(b).place < 0 || (operand(a).splat && !operand(b).splat));
    load(b_first ? b : a);
  }
  int other = accumulator_ == a ? b : a;
  if (operand(other).place < 0) {  // both must come through the accumulator
    if (operand(accumulator_).place < 0) spill(accumulator_);
    const int first = accumulator_;
    load(other);
    other = first;
  }
  const Operand from = operand(other);
  left_[accumulator_]--;
  keep_accumulator();
  left_[accumulator_]++;
  word(base + (accumulator_ == b ? kReversedForm : 0) + (from.splat ? kSplatForm : 0), from.place);
  used(a);
  used(b);
}

void Compiler::emit_select(const Instr& instr) {
  for (int v : {instr.b, instr.c}) {
    if (operand(v).place >= 0) continue;
    load(v);
    spill(v);
  }
  load(instr.a);
  left_[instr.a]--;
  keep_accumulator();
  left_[instr.a]++;
  const Operand x = operand(instr.b), y = operand(instr.c);
  word(kSelect + (x.splat ? 1 : 0) + (y.splat ? 2 : 0), x.place);
  word(kSelect, y.place);  // only the operand of this word counts
  used(instr.a);
  used(instr.b);
  used(instr.c);
}

void Compiler::emit_register(int i) {
  const Instr& instr = spec_.tape[i];
  const int v = spec_.n_inputs + i;
  if (instr.stage == Stage::cast) {
    int code = -1;
    if (instr.in == DType::bool_) {
      code = kUnary_number;
    } else if (instr.out == DType::bool_) {
      code = kUnary_truth;
    } else if (is_half(instr.out) && instr.out != instr.in) {
      code = round_code(instr.out);
    }
    emit_unary(code, instr.a);
  } else if (instr.in == DType::bool_ && instr.stage != Stage::select) {
    const int code = truth_code(instr.stage);
    instr.b < 0 ? emit_unary(code, instr.a) : emit_binary(code, instr.a, instr.b);
  } else if (instr.stage == Stage::copy || instr.stage == Stage::real || instr.stage == Stage::conjugate) {
    emit_unary(-1, instr.a);
  } else if (instr.stage == Stage::imag) {
    emit_unary(kUnary_zero, instr.a);
  } else if (instr.stage == Stage::select) {
    emit_select(instr);
  } else if (unary_code(instr.stage) >= 0) {
    emit_unary(unary_code(instr.stage), instr.a);
  } else if (binary_code(instr.stage) >= 0) {
    emit_binary(binary_code(instr.stage), instr.a, instr.b);
  } else {
    refuse(instr);
  }
  if (is_half(instr.out) && !is_exact_on_half(instr.stage) && (left_[v] > 0 || crosses_[v]))
    word(round_code(instr.out));  // (the store rounds by itself)
  accumulator_ = v;
  store_results(v);
}

// From the accumulator, as soon as the value is there: outputs in their own format, and the strip that other steps read.
void Compiler::store_results(int v) {
  const DType dtype = dtype_of(v);
  const int plain = dtype == DType::bool_ ? kStoreTruth : kStore;
  for (int j = 0; j < spec_.n_outputs; j++) {
    if (spec_.outputs[j].value != v || bound_[j] || late_[j]) continue;
    int code = plain;
    if (is_half(dtype)) code = is_bfloat16(dtype) ? kStoreBFloat16 : kStoreFloat16;
    if (code == kStore && streams(j)) {
      code = kStoreStream;
      program_.streams = true;
    }
    word(code, program_.out_place[j]);
    done_[j] = true;
  }
  if (!crosses_[v]) return;
  word(plain, v);
  stored_[v] = true;
}

}  // namespace bridge::pipeline
