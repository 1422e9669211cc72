// KernelSpec to Plan: which strips are read in place, which are gathered, which loops run and where their results lie.
#include <stdexcept>
#include <string>

#include "isa.h"
#include "pipeline.h"

namespace bridge::pipeline {

#define BRIDGE_ISA_TABLE(name)         \
  namespace name {                     \
  extern const StripTable strip_table; \
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

const StripTable& chosen_table() {
#if defined(__x86_64__)
  switch (isa()) {
    case Isa::v4: return isa_v4::strip_table;
    case Isa::v3: return isa_v3::strip_table;
    default: return isa_v2::strip_table;
  }
#elif defined(__aarch64__)
  return isa_neon::strip_table;
#else
  return isa_generic::strip_table;
#endif
}

// Results of these on half values are half values: nothing to round.
bool is_exact_on_half(Stage stage) {
  switch (stage) {
    case Stage::copy:
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

struct Range { const char *low, *high; };

Range addresses(const Layout& layout, const Access& access) {
  Range range{access.base, access.base + access.size};
  for (int i = 0; i < layout.ndim; i++) {
    const int64_t span = access.strides[i] * (layout.shape[i] - 1);
    (span < 0 ? range.low : range.high) += span;
  }
  return range;
}

class Compiler {
 public:
  Compiler(Plan& plan, const KernelSpec& spec)
      : plan_(plan), spec_(spec), program_(plan.program), layout_(plan.layout) {}

  void compile() {
    program_.n_steps = 0;
    for (int p = 0; p < kPlaces; p++) {
      program_.slot[p] = -1;
      scratch_[p] = false;
      last_use_[p] = -1;
    }
    for (int v = 0; v < n_values(); v++) needed_[v] = placed_[v] = false;
    mark_needed();
    choose_walk();
    for (int k = 0; k < spec_.n_inputs; k++) bind_input(k);
    for (int j = 0; j < spec_.n_outputs; j++) bind_output(j);
    for (int i = 0; i < spec_.n_tape; i++)
      if (needed_[spec_.n_inputs + i]) emit_instr(i);
    for (int j = 0; j < spec_.n_outputs; j++) store(j);
    if (spec_.reduce != Reduce::none) {
      widen_if_raw(spec_.reduce_value);
      last_use_[spec_.reduce_value] = kForever;
    }
    assign_slots();
  }

 private:
  static constexpr int kForever = 1 << 30;

  int n_values() const { return spec_.n_inputs + spec_.n_tape; }
  DType value_dtype(int v) const {
    return v < spec_.n_inputs ? spec_.inputs[v].dtype : spec_.tape[v - spec_.n_inputs].out;
  }

  void mark_needed() {
    for (int j = 0; j < spec_.n_outputs; j++) needed_[spec_.outputs[j].value] = true;
    if (spec_.reduce != Reduce::none) needed_[spec_.reduce_value] = true;
    for (int i = spec_.n_tape; i-- > 0;) {
      const Instr& instr = spec_.tape[i];
      if (!needed_[spec_.n_inputs + i]) continue;
      for (int operand : {instr.a, instr.b, instr.c})
        if (operand >= 0) needed_[operand] = true;
    }
  }

  // Short rows would make short chunks: then chunks run across rows, and what is not flat is gathered.
  void choose_walk() {
    bool strided = false;
    for (int k = 0; k < layout_.n_access; k++) strided |= layout_.access[k].base != nullptr && !layout_.access[k].flat;
    plan_.by_rows = strided && (layout_.ndim == 1 || layout_.shape[layout_.ndim - 1] >= kRowAtLeast);
  }
  static constexpr int64_t kRowAtLeast = 128;

  bool in_place(const Access& access) const {
    if (reinterpret_cast<uintptr_t>(access.base) % static_cast<uintptr_t>(access.size > 8 ? 8 : access.size) != 0)
      return false;
    return plan_.by_rows ? access.strides[layout_.ndim - 1] == access.size : access.flat;
  }

  void bind_input(int k) {
    const Access& access = layout_.access[k];
    Source& source = program_.source[k];
    program_.in_place[k] = static_cast<int16_t>(k);
    raw_[k] = false;
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
    const bool constant = source == Source::scalar || source == Source::splat;
    if (is_half(spec_.inputs[k].dtype) && !constant) {
      program_.in_place[k] = static_cast<int16_t>(kRawPlace + k);
      raw_[k] = true;
    }
    if (source != Source::direct) scratch_[program_.in_place[k]] = true;
    if (constant) last_use_[k] = kForever;
  }

  // A value that goes to one dense output is computed right there.
  void bind_output(int j) {
    const Output& out = spec_.outputs[j];
    const Access& access = layout_.access[spec_.n_inputs + j];
    const bool direct = in_place(access), half = is_half(out.dtype);
    program_.sink[j] = direct ? Sink::direct : Sink::scattered;
    program_.out_place[j] = static_cast<int16_t>(kOutPlace + j);
    if (!half && direct && out.value >= spec_.n_inputs && !placed_[out.value] && !overlaps_input(access)) {
      placed_[out.value] = true;
      program_.out_place[j] = out.value;
    }
    if (!direct && !half && !(out.value < spec_.n_inputs)) program_.out_place[j] = out.value;
    if (!direct) scratch_[program_.out_place[j]] = true;
  }

  // Such an output is stored when the chunk has read all it needs.
  bool overlaps_input(const Access& out) const {
    const Range o = addresses(layout_, out);
    for (int k = 0; k < spec_.n_inputs; k++) {
      if (!needed_[k] || layout_.access[k].base == nullptr) continue;
      const Range in = addresses(layout_, layout_.access[k]);
      if (o.low < in.high && in.low < o.high) return true;
    }
    return false;
  }

  void emit(StripFn fn, int d, int a, int b, int c) {
    if (fn == nullptr) throw std::logic_error("[bridge] the CPU backend has no loop for a stage of this dtype.");
    for (int operand : {a, b, c})
      if (operand >= 0 && last_use_[operand] < program_.n_steps) last_use_[operand] = program_.n_steps;
    program_.steps[program_.n_steps++] = {fn, static_cast<int16_t>(d), static_cast<int16_t>(a), static_cast<int16_t>(b),
                                          static_cast<int16_t>(c)};
  }

  void widen_if_raw(int v) {
    if (v < 0 || v >= spec_.n_inputs || !raw_[v]) return;
    raw_[v] = false;
    scratch_[v] = true;
    emit(strips().widen[spec_.inputs[v].dtype == DType::bfloat16], v, kRawPlace + v, -1, -1);
  }

  void emit_instr(int i) {
    const Instr& instr = spec_.tape[i];
    const int v = spec_.n_inputs + i;
    for (int operand : {instr.a, instr.b, instr.c}) widen_if_raw(operand);
    const int from = static_cast<int>(instr.in), to = static_cast<int>(instr.out);
    const bool cast = instr.stage == Stage::cast;
    scratch_[v] |= !placed_[v];
    emit(cast ? strips().cast[from][to]
              : strips().stage[static_cast<int>(instr.stage)][static_cast<int>(strip_dtype(instr.in))],
         v, instr.a, instr.b, instr.c);
    if (!cast && is_half(instr.out) && !is_exact_on_half(instr.stage))
      emit(strips().cast[static_cast<int>(DType::float32)][to], v, v, -1, -1);
  }

  void store(int j) {
    const Output& out = spec_.outputs[j];
    const int place = program_.out_place[j];
    if (program_.sink[j] == Sink::scattered) last_use_[place] = kForever;
    if (place == out.value) return;
    if (is_half(out.dtype)) {
      if (out.value < spec_.n_inputs && raw_[out.value]) {
        emit(strips().stage[kStage_copy][static_cast<int>(DType::uint16)], place, kRawPlace + out.value, -1, -1);
      } else {
        emit(strips().narrow[out.dtype == DType::bfloat16], place, out.value, -1, -1);
      }
    } else {
      emit(strips().stage[kStage_copy][static_cast<int>(out.dtype)], place, out.value, -1, -1);
    }
  }

  int strip_size(int place) const {
    if (place >= kOutPlace) return static_cast<int>(itemsize(spec_.outputs[place - kOutPlace].dtype));
    if (place >= kRawPlace) return 2;
    return static_cast<int>(itemsize(strip_dtype(value_dtype(place))));
  }

  void assign_slots() {
    int16_t free[kPlaces];
    int n_free = 0, widest = 1;
    program_.n_slots = 0;
    const auto take = [&](int place) {
      if (!scratch_[place] || program_.slot[place] >= 0) return;
      program_.slot[place] = n_free > 0 ? free[--n_free] : static_cast<int16_t>(program_.n_slots++);
      const int size = strip_size(place);
      widest = size > widest ? size : widest;
    };
    for (int k = 0; k < spec_.n_inputs; k++) take(program_.in_place[k]);
    for (int s = 0; s < program_.n_steps; s++) {
      const Step& step = program_.steps[s];
      take(step.d);
      for (int operand : {step.a, step.b, step.c})
        if (operand >= 0 && last_use_[operand] == s && program_.slot[operand] >= 0) {
          free[n_free++] = program_.slot[operand];
          last_use_[operand] = kForever;  // an operand may stand twice in a step
        }
    }
    int64_t chunk = layout_.size < kStrip ? layout_.size : kStrip;
    const int64_t room = program_.n_slots == 0 ? chunk : kScratchBytes / program_.n_slots / 64 * 64 / widest;
    if (chunk > room) chunk = room / 16 * 16;
    program_.chunk = chunk;
    program_.slot_bytes = static_cast<int>((chunk * widest + 63) / 64 * 64);
  }

  Plan& plan_;
  const KernelSpec& spec_;
  Program& program_;
  const Layout& layout_;
  bool needed_[kMaxValues], placed_[kMaxValues], raw_[kMaxInputs];
  bool scratch_[kPlaces];
  int last_use_[kPlaces];
};

}  // namespace

const StripTable& strips() {
  static const StripTable table = [] {
    StripTable full = chosen_table();
    fill_libm(full);
    fill_complex(full);
    return full;
  }();
  return table;
}

void make_plan(Plan& plan, const KernelSpec& spec, const AxisOrder& order) {
  plan.spec = &spec;
  make_layout(plan.layout, spec, order);
  Compiler(plan, spec).compile();
}

}  // namespace bridge::pipeline
