// KernelSpec to Plan: which strips are read in place, which are gathered, which loops run and where their results lie.
#include <stdexcept>
#include <string>

#include "isa.h"
#include "pipeline_compiler.h"

namespace bridge::pipeline {

#define BRIDGE_ISA_TABLE(name)              \
  namespace name {                          \
  extern const StripTable strip_table;      \
  void fill_register_table(RegisterTable&); \
  }
#if defined(__x86_64__)
BRIDGE_ISA_TABLE(isa_v2)
BRIDGE_ISA_TABLE(isa_v3)
BRIDGE_ISA_TABLE(isa_v4)
#elif defined(__aarch64__)
BRIDGE_ISA_TABLE(isa_neon)
#else
BRIDGE_ISA_TABLE(isa_generic)
#endif

namespace {

struct Tables {
  StripTable strips;
  RegisterTable registers;

  Tables() {
#if defined(__x86_64__)
    switch (isa()) {
      case Isa::v4: take(isa_v4::strip_table, isa_v4::fill_register_table); break;
      case Isa::v3: take(isa_v3::strip_table, isa_v3::fill_register_table); break;
      default: take(isa_v2::strip_table, isa_v2::fill_register_table);
    }
#elif defined(__aarch64__)
    take(isa_neon::strip_table, isa_neon::fill_register_table);
#else
    take(isa_generic::strip_table, isa_generic::fill_register_table);
#endif
    fill_libm(strips);
    fill_complex(strips);
  }

 private:
  void take(const StripTable& loops, void (*fill)(RegisterTable&)) {
    strips = loops;
    fill(registers);
  }
};

const Tables& tables() {
  static const Tables chosen;
  return chosen;
}

struct Range { const char *low, *high; };

Range addresses(const Layout& layout, const Access& access) {
  Range range{access.base, access.base + access.size};
  for (int i = 0; i < layout.ndim; i++) {
    const int64_t span = access.strides[i] * (layout.shape[i] - 1);
    (span < 0 ? range.low : range.high) += span;
  }
  return range;
}

constexpr int64_t kRowAtLeast = 128;  // elements: shorter rows are gathered into strips that span several
constexpr int64_t kStreamAtLeast = 8 * 1024 * 1024;  // bytes of an output
constexpr int64_t kWhole = int64_t{1} << 62;

}  // namespace

const StripTable& strips() { return tables().strips; }
const RegisterTable& registers() { return tables().registers; }

void make_plan(Plan& plan, const KernelSpec& spec, const AxisOrder& order) {
  plan.spec = &spec;
  make_layout(plan.layout, spec, order);
  Compiler(plan, spec).compile();
}

void Compiler::compile() {
  program_.n_steps = program_.n_words = program_.n_temporaries = 0;
  program_.streams = false;
  const auto reset = [this](int first, int count) {
    for (int p = first; p < first + count; p++) {
      program_.slot[p] = -1;
      scratch_[p] = false;
      last_use_[p] = -1;
    }
  };
  reset(0, n_values());
  reset(kRawPlace, spec_.n_inputs);
  reset(kOutPlace, spec_.n_outputs);
  mark_needed();
  choose_walk();
  form_segments();
  for (int k = 0; k < spec_.n_inputs; k++) bind_input(k);
  for (int j = 0; j < spec_.n_outputs; j++) bound_[j] = done_[j] = late_[j] = false;
  for (int j = 0; j < spec_.n_outputs; j++) bind_output(j);
  for (int v = spec_.n_inputs; v < n_values(); v++)
    if (needed_[v] && (segment_[v] == 0 || crosses_[v]) && !is_bound(v)) scratch_[v] = true;
  emit_all();
  assign_slots();
}

void Compiler::mark_needed() {
  for (int v = 0; v < n_values(); v++) needed_[v] = false;
  for (int j = 0; j < spec_.n_outputs; j++) needed_[spec_.outputs[j].value] = true;
  if (spec_.reduce != Reduce::none) needed_[spec_.reduce_value] = true;
  for (int v = n_values(); v-- > spec_.n_inputs;) {
    if (!needed_[v]) continue;
    for (int operand : {instr_of(v).a, instr_of(v).b, instr_of(v).c})
      if (operand >= 0) needed_[operand] = true;
  }
}

// Short rows would make short chunks: then chunks run across rows, and what is not flat is gathered.
void Compiler::choose_walk() {
  bool strided = false;
  for (int k = 0; k < layout_.n_access; k++) strided |= layout_.access[k].base != nullptr && !layout_.access[k].flat;
  plan_.by_rows = strided && (layout_.ndim == 1 || layout_.shape[layout_.ndim - 1] >= kRowAtLeast);
}

bool Compiler::in_place(const Access& access) const {
  if (reinterpret_cast<uintptr_t>(access.base) % static_cast<uintptr_t>(access.size > 8 ? 8 : access.size) != 0)
    return false;
  return plan_.by_rows ? access.strides[layout_.ndim - 1] == access.size : access.flat;
}

void Compiler::bind_input(int k) {
  const Access& access = layout_.access[k];
  Source& source = program_.source[k];
  program_.in_place[k] = static_cast<int16_t>(k);
  widened_[k] = false;
  if (!needed_[k]) {
    source = Source::unused;
    return;
  }
  if (access.base == nullptr) {
    source = Source::scalar;
  } else if (in_place(access)) {
    source = Source::direct;
  } else if (plan_.by_rows && access.strides[layout_.ndim - 1] == 0) {
    source = Source::splat;
  } else {
    source = Source::gathered;
  }
  if (is_constant(k)) return;
  if (is_half(dtype_of(k))) program_.in_place[k] = static_cast<int16_t>(kRawPlace + k);
  if (source == Source::gathered) scratch_[program_.in_place[k]] = true;
}

// Outputs in arrays that are an input too are stored when the chunk has read all it needs (unless their value comes last anyway).
void Compiler::bind_output(int j) {
  const Output& out = spec_.outputs[j];
  const Access& access = layout_.access[spec_.n_inputs + j];
  const int v = out.value;
  const bool direct = in_place(access), plain = !is_half(out.dtype);
  program_.sink[j] = direct ? Sink::direct : Sink::scattered;
  program_.out_place[j] = static_cast<int16_t>(kOutPlace + j);
  if (!direct) scratch_[kOutPlace + j] = true;
  if (is_input(v)) return;
  late_[j] = direct && !comes_last(v) && overlaps_input(access);
  if (late_[j] && segment_[v] != 0) crosses_[v] = true;
  if (!plain || late_[j] || is_bound(v) || (segment_[v] != 0 && !crosses_[v])) return;
  // The strip of the value is the array itself, or, for a scattered output, the strip that is scattered.
  scratch_[kOutPlace + j] = false;
  program_.out_place[j] = static_cast<int16_t>(v);
  bound_[j] = done_[j] = true;
  if (!direct) {
    scratch_[v] = true;
    last_use_[v] = kForever;
  }
}

bool Compiler::is_bound(int v) const {
  for (int j = 0; j < spec_.n_outputs; j++)
    if (program_.out_place[j] == v && bound_[j]) return true;
  return false;
}

bool Compiler::comes_last(int v) const {
  for (int later = v + 1; later < n_values(); later++)
    if (needed_[later]) return false;
  for (int j = 0; j < spec_.n_outputs; j++)
    if (is_input(spec_.outputs[j].value)) return false;
  return true;
}

bool Compiler::overlaps_input(const Access& out) const {
  const Range o = addresses(layout_, out);
  for (int k = 0; k < spec_.n_inputs; k++) {
    if (!needed_[k] || layout_.access[k].base == nullptr) continue;
    const Range in = addresses(layout_, layout_.access[k]);
    if (o.low < in.high && in.low < o.high) return true;
  }
  return false;
}

bool Compiler::streams(int j) const {
  const Access& access = layout_.access[spec_.n_inputs + j];
  return program_.sink[j] == Sink::direct && !plan_.by_rows && layout_.size * access.size >= kStreamAtLeast &&
         reinterpret_cast<uintptr_t>(access.base) % 64 == 0;
}

void Compiler::refuse(const Instr& instr) const {
  throw std::logic_error(std::string("[bridge] the CPU backend has no ") + stage_name(instr.stage) + " of " +
                         info(instr.in).name + ".");
}

// ---- strip loops
void Compiler::touch(int place) {
  if (last_use_[place] < program_.n_steps) last_use_[place] = program_.n_steps;
}

void Compiler::emit(StripFn fn, int d, int a, int b, int c) {
  for (int place : {d, a, b, c})
    if (place >= 0) touch(place);
  program_.steps[program_.n_steps++] = {fn, static_cast<int16_t>(d), static_cast<int16_t>(a), static_cast<int16_t>(b),
                                        static_cast<int16_t>(c)};
}

int Compiler::strip_of(int v) {
  if (v < 0 || !is_input(v)) return v;
  if (is_constant(v)) {
    scratch_[v] = true;
    last_use_[v] = kForever;
  } else if (is_half(dtype_of(v)) && !widened_[v]) {
    widened_[v] = true;
    scratch_[v] = true;
    emit(strips().widen[dtype_of(v) == DType::bfloat16], v, kRawPlace + v, -1, -1);
  }
  return v;
}

void Compiler::emit_strip(int i) {
  const Instr& instr = spec_.tape[i];
  const int from = static_cast<int>(instr.in), to = static_cast<int>(instr.out);
  const StripFn fn =
      instr.stage == Stage::cast ? strips().cast[from][to] : strips().stage[static_cast<int>(instr.stage)][from];
  if (fn == nullptr) refuse(instr);
  const int a = strip_of(instr.a), b = strip_of(instr.b), c = strip_of(instr.c);
  emit(fn, spec_.n_inputs + i, a, b, c);
}

void Compiler::emit_all() {
  for (int i = 0; i < spec_.n_tape; i++) {
    const int v = spec_.n_inputs + i;
    if (!needed_[v]) continue;
    const Instr& instr = spec_.tape[i];
    if (segment_[v] != 0) {
      if (segment_[v] != open_) {
        close_segment();
        open_segment(segment_[v], i);
      }
      emit_register(i);
      continue;
    }
    for (int operand : {instr.a, instr.b, instr.c})
      if (operand >= 0 && open_ != 0 && segment_[operand] == open_) close_segment();
    emit_strip(i);
  }
  close_segment();
  for (int j = 0; j < spec_.n_outputs; j++) store_rest(j);
  if (spec_.reduce != Reduce::none) last_use_[strip_of(spec_.reduce_value)] = kForever;
}

// What neither a loop nor a segment has put where it belongs.
void Compiler::store_rest(int j) {
  const Output& out = spec_.outputs[j];
  const int place = program_.out_place[j];
  if (program_.sink[j] == Sink::scattered) last_use_[place] = kForever;
  if (done_[j]) return;
  if (!is_half(out.dtype)) {
    emit(strips().stage[kStage_copy][static_cast<int>(out.dtype == DType::float32 ? DType::uint32 : out.dtype)], place,
         strip_of(out.value), -1, -1);
  } else if (is_input(out.value) && !is_constant(out.value)) {
    emit(strips().stage[kStage_copy][static_cast<int>(DType::uint16)], place, kRawPlace + out.value, -1, -1);
  } else {
    emit(strips().narrow[out.dtype == DType::bfloat16], place, strip_of(out.value), -1, -1);
  }
  if (program_.sink[j] == Sink::scattered) last_use_[place] = kForever;
}

// ---- scratch
int Compiler::strip_bytes(int place) const {
  if (place >= kOutPlace) return static_cast<int>(itemsize(spec_.outputs[place - kOutPlace].dtype));
  if (place >= kRawPlace) return 2;
  return static_cast<int>(itemsize(strip_dtype(dtype_of(place))));
}

void Compiler::assign_slots() {
  int16_t free[kStripPlaces];
  int n_free = 0, widest = 1;
  program_.n_slots = 0;
  const auto take = [&](int place) {
    if (place < 0 || place >= kStripPlaces || !scratch_[place] || program_.slot[place] >= 0) return;
    program_.slot[place] = n_free > 0 ? free[--n_free] : static_cast<int16_t>(program_.n_slots++);
    const int bytes = strip_bytes(place);
    widest = bytes > widest ? bytes : widest;
  };
  const auto drop = [&](int place, int step) {
    if (place < 0 || place >= kStripPlaces || last_use_[place] != step || program_.slot[place] < 0) return;
    free[n_free++] = program_.slot[place];
    last_use_[place] = kForever;  // once only
  };
  for (int k = 0; k < spec_.n_inputs; k++) {
    if (program_.source[k] != Source::unused) take(program_.in_place[k]);
  }
  for (int s = 0; s < program_.n_steps; s++) {
    const Step& step = program_.steps[s];
    if (step.fn != nullptr) {
      take(step.d);
      for (int place : {step.a, step.b, step.c, step.d}) drop(place, s);
      continue;
    }
    for (int w = step.d; program_.words[w].code != kReturn; w++) take(program_.words[w].place);
    for (int w = step.d; program_.words[w].code != kReturn; w++) drop(program_.words[w].place, s);
  }
  const int64_t temporaries = static_cast<int64_t>(program_.n_temporaries) * registers().lanes * 32;
  int64_t chunk = layout_.size < kStrip ? layout_.size : kStrip;
  if (program_.n_slots == 0) {
    chunk = program_.n_steps == 1 ? kWhole : 8 * kStrip;
  } else {
    const int64_t room = (kScratchBytes - temporaries) / program_.n_slots / 64 * 64 / widest;
    if (chunk > room) chunk = room / 16 * 16;
  }
  program_.chunk = chunk;
  program_.slot_bytes = program_.n_slots == 0 ? 0 : static_cast<int>((chunk * widest + 63) / 64 * 64);
}

}  // namespace bridge::pipeline
